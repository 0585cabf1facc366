"""A program for tests: `python killed.py EPOCHS WORDS...` runs `main.py WORDS...` and kills itself before its epoch EPOCHS + 1."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    from ranks import die_after

    import main as program

    die_after(int(sys.argv[1]))
    sys.exit(program.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
