"""Threads of one process that take turns: one runs at a time, up to the point where it meets the others or waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

GRACE = 1.5  # seconds that a running thread has to reach its next wait when it is asked to leave
_own = threading.local()


class Kept(NamedTuple):
    """A value of the whole process that each thread sees as its own: the functions that read it and set it."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


class Leaving(BaseException):
    """The owner of a thread asked it to leave; it unwinds."""


class Turn:
    """Work in a thread of its own, which runs only while its owner waits in `go_on`.

    Attributes:
        asked: what the thread came to `meet` with; None if it waits for something else, or is over.
        over: whether the work has ended.
        result: what the work returned.

    Args:
        work: the work; what it raises, `go_on` raises.
        kept: the values of the process that are kept apart.
    """

    def __init__(self, work: Callable[[], Any], kept: Sequence[Kept] = ()) -> None:
        self.asked: Any = None
        self.over, self.result = False, None
        self.idle = 0.0
        self._work, self._kept, self._values = work, kept, [k.read() for k in kept]
        self._answer: bool | BaseException = False
        self._mine, self._owners = threading.Semaphore(0), threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._parked, self._leaving, self._running = time.perf_counter(), False, False
        self._error: BaseException | None = None

    def go_on(self, answer: bool | BaseException = False, worked: float = 0.0) -> None:
        """Let the thread run until it waits or has ended.

        Args:
            answer: for `meet`: whether the owner has done the work, or the error that it ended with.
            worked: the seconds that this work took; they do not count as idle.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        before = self._swap()
        self.idle += time.perf_counter() - self._parked - worked
        self.asked, self._answer, self._running = None, answer, True
        self._mine.release()
        try:
            self._owners.acquire()
        finally:
            self._parked = time.perf_counter()
            self._values = [k.read() for k in self._kept]
            _put(self._kept, before)
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        """End the thread where it waits; one that still runs after `GRACE` seconds is left to the end of the process."""
        self._leaving = True
        if self._thread is None or self.over or (self._running and not self._owners.acquire(timeout=GRACE)):
            return
        before = self._swap()
        self._mine.release()
        self._thread.join(GRACE)
        _put(self._kept, before)

    def _swap(self) -> list[Any]:
        """Set the thread's own values of the process, and return those of before."""
        before = [k.read() for k in self._kept]
        _put(self._kept, self._values)
        return before

    def _run(self) -> None:
        _own.turn = self
        try:
            self._mine.acquire()
            if not self._leaving:
                self.result = self._work()
        except Leaving:
            pass
        except BaseException as error:  # a signal that came during a write is raised at its end, in this thread
            self._error = error
        finally:
            self.over, self._running = True, False
            self._owners.release()

    def wait(self, asked: Any) -> bool:
        """Hand back to the owner, in the thread; return its answer."""
        self.asked, self._running = asked, False
        self._owners.release()
        self._mine.acquire()
        if self._leaving:
            raise Leaving
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer


def _put(kept: Sequence[Kept], values: Sequence[Any]) -> None:
    for k, value in zip(kept, values, strict=True):
        k.write(value)


def _turn() -> Turn | None:
    return getattr(_own, "turn", None)


def among_others() -> bool:
    """Tell whether this thread takes turns with others."""
    return _turn() is not None


def meet(work: Any) -> bool:
    """Wait until the other threads have come with work of theirs; tell whether the owner has done it together with theirs.

    Without others, or if they do not fit together, the caller does it.
    """
    turn = _turn()
    return turn is not None and turn.wait(work)


def pause() -> bool:
    """Let the other threads go on; return False at once where there are none."""
    turn = _turn()
    if turn is not None:
        turn.wait(None)
    return turn is not None


def seconds() -> float:
    """Return a clock like `time.perf_counter`, which stands while this thread waits for the others."""
    turn = _turn()
    return time.perf_counter() - (turn.idle if turn else 0.0)
