"""SIGINT and SIGTERM: they unwind the stack, but wait for the end of a write."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from Utils.base import turns
from Utils.base.errors import Terminated


class _Held:
    """The number of unfinished writes in this process, and the signal that waits for their end."""

    depth = 0
    waiting: int | None = None


def _unwind(number: int) -> None:
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def _arrived(number: int, _frame: FrameType | None) -> None:
    if _Held.depth and _Held.waiting is None:  # a second signal does not wait
        _Held.waiting = number
    else:
        _unwind(number)


def install(*numbers: int) -> None:
    """Make these signals (SIGINT, SIGTERM) raise `KeyboardInterrupt` and `Terminated`, outside of `held` blocks."""
    for number in numbers:
        signal.signal(number, _arrived)


def leave(status: int) -> NoReturn:
    """End the process once the stack is unwound.

    This skips the shutdown of the interpreter, which takes a second with torch in it.
    """
    atexit._run_exitfuncs()  # undocumented, but the only way to release semaphores
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


@contextmanager
def held() -> Iterator[None]:
    """Finish this block before a signal unwinds the stack, of all threads; a second signal does not wait."""
    _Held.depth += 1
    try:
        with turns.finished():
            yield
    finally:
        _Held.depth -= 1
        if not _Held.depth:
            number, _Held.waiting = _Held.waiting, None
            if number is not None:
                _unwind(number)
