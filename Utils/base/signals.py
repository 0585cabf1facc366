"""SIGINT and SIGTERM: they unwind the stack, but not in the middle of a write, which is finished first."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from Utils.base.errors import Terminated


class _Held:
    """Writes that are going on in this process, and the signal that waits for their end."""

    depth = 0
    waiting: int | None = None


def _unwind(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _arrived(number: int, _frame: FrameType | None) -> None:
    if _Held.depth and _Held.waiting is None:  # whoever sends a second one does not want to wait
        _Held.waiting = number
    else:
        _unwind(number)


def install(*numbers: int) -> None:
    """Have these signals (SIGINT, SIGTERM) unwind the stack as `KeyboardInterrupt` and `Terminated`, outside of `held` blocks."""
    for number in numbers:
        signal.signal(number, _arrived)


def leave(status: int) -> NoReturn:
    """End the process once the stack is unwound: taking the interpreter down, with torch in it, takes a second on its own."""
    atexit._run_exitfuncs()  # undocumented, but what else gives semaphores back?
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def held() -> Iterator[None]:
    """Finish this block before a signal unwinds the stack; a second signal does not wait."""
    _Held.depth += 1
    try:
        yield
    finally:
        _Held.depth -= 1
        if not _Held.depth:
            number, _Held.waiting = _Held.waiting, None
            if number is not None:
                _unwind(number)
