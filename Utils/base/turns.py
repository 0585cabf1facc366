"""Threads of one process that take turns: one runs at a time, up to the point where it meets the others or waits for them."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
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
        self._unfinished = 0  # blocks of `finished`
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
        try:
            self._mine.release()
            self._owners.acquire()
        except BaseException:  # a signal
            self.leave()  # before the values of the process change under it
            raise
        finally:
            self._parked = time.perf_counter()
            self._values = [k.read() for k in self._kept]
            _put(self._kept, before)
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        """End the thread where it waits, or at its next line if it runs; a block of `finished` is finished before.

        One that still runs after `GRACE` seconds, as within a long product, is left to the end of the process. It begins no
        further block of `finished`.
        """
        again, self._leaving = self._leaving, True
        if self._thread is None or self.over or (again and self._running):
            return
        if self._running:
            if not self._unfinished:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident), ctypes.py_object(Leaving))
            while not self._owners.acquire(timeout=GRACE):
                if not self._unfinished:
                    return
        before = self._swap()
        self._mine.release()
        self._thread.join(GRACE)
        _put(self._kept, before)

    @property
    def running(self) -> bool:
        """Whether the thread runs although its owner does not wait for it: a signal has called the owner away."""
        return self._running

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
        self.stay()
        self.asked, self._running = asked, False
        self._owners.release()
        self._mine.acquire()
        self.stay()
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def stay(self) -> None:
        """Unwind the thread if it was asked to leave.

        Raises:
            Leaving: it was.
        """
        if self._leaving:
            raise Leaving

    @contextmanager
    def finished(self) -> Iterator[None]:
        """Finish this block, in the thread, before it leaves; do not begin it if the thread was asked to leave."""
        self.stay()
        self._unfinished += 1
        try:
            yield
        finally:
            self._unfinished -= 1
        self.stay()


def _put(kept: Sequence[Kept], values: Sequence[Any]) -> None:
    for k, value in zip(kept, values, strict=True):
        k.write(value)


def _turn() -> Turn | None:
    return getattr(_own, "turn", None)


def leave(turns: Iterable[Turn]) -> None:
    """End all threads, first one that runs, which sees the values of the process."""
    for turn in sorted(turns, key=lambda turn: not turn.running):
        turn.leave()


@contextmanager
def finished() -> Iterator[None]:
    """Finish this block before a thread that takes turns leaves (see `Turn.finished`)."""
    turn = _turn()
    if turn is None:
        yield
        return
    with turn.finished():
        yield


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
