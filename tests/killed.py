"""Runs that are killed in training: `killed` for tests, and the program that it starts.

`python killed.py EPOCHS WORDS...` runs `main.py WORDS...` and kills itself before its epoch EPOCHS + 1.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from forked import Forked


def killed(words: Sequence[object], epochs: int) -> None:
    """Run `main.py WORDS...` in a process that is killed before its epoch `epochs` + 1."""
    process = Forked(Path(__file__).resolve(), [epochs, *words])
    assert process.wait() == -signal.SIGKILL, process.printed()


def main() -> None:
    """Run `main.py` with the words of the command line until the kill."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from ranks import die_after

    import main as program

    die_after(int(sys.argv[1]))
    sys.exit(program.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
