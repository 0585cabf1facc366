"""A program for tests: `python killed.py EPOCHS WORDS...` runs `main.py WORDS...` and kills itself before its epoch EPOCHS + 1."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> None:
    import main as program
    from Utils import training

    left = int(sys.argv[1])
    train_epoch = training.train_epoch

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return train_epoch(*args, **kwargs)

    training.train_epoch = counted
    sys.exit(program.main(sys.argv[2:]))


if __name__ == "__main__":
    main()
