"""Times of short pieces of work, measured within a few seconds altogether."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

LIMIT = 10.0  # seconds of an estimate altogether
FEW, MORE, ENOUGH = 2, 8, 1.0  # units of the first call, the largest growth of a call, seconds after which a time is known


SLACK = 1.5  # by which a longer call may take longer than in proportion to its units


class OutOfTime(Exception):
    """The seconds for measuring are over."""


class Stopwatch:
    """Measures one thing after the other, each in its share of the seconds that are left, by its weight.

    On a CPU, times are those in which this thread computed, which others on the machine hardly change; `share_of_core` converts
    them to seconds that pass.

    Attributes:
        weights: the sum of the weights of what is still to be measured.

    Args:
        limit: the seconds for everything.
    """

    def __init__(self, limit: float = LIMIT) -> None:
        self._end = time.perf_counter() + limit
        self.weights = 1.0
        self._passed = self._computed = self._last = 0.0

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return self._end - time.perf_counter()

    @property
    def share_of_core(self) -> float:
        """The share of the measured time, from 0 to 1, in which this thread had a core; below 1 others used it too."""
        return min(self._computed / self._passed, 1.0) if self._passed and self._computed else 1.0

    def check(self) -> None:
        """Raise `OutOfTime` if no second is left."""
        if self.left <= 0:
            raise OutOfTime(f"the {LIMIT:.0f} s of measuring were over")

    def seconds(self, call: Callable[[int], object], whole: int, device: torch.device, weight: float = 1.0) -> float:
        """Return the seconds of `call(whole)`, from calls with as many units as fit into the share of its `weight`.

        The first call, which takes up to twice as long as later ones, does not count.

        Raises:
            OutOfTime: no second is left.
        """
        self.check()
        end = time.perf_counter() + self.left * weight / max(self.weights, weight)
        self.weights -= weight
        units = min(whole, FEW)
        took = self.lap(call, units, device)
        while units < whole:
            grown = min(whole, units * MORE, int(units * (end - time.perf_counter()) / SLACK / max(self._last, 1e-9)))
            if grown < min(2 * units, whole):
                break
            units = grown
            took = self.lap(call, units, device)
        laps: list[float] = []
        end = min(end, time.perf_counter() + ENOUGH)
        while time.perf_counter() + self._last < end:
            laps.append(self.lap(call, units, device))
        return (sum(laps) / len(laps) if laps else took) * whole / units

    def lap(self, call: Callable[[int], object], units: int, device: torch.device) -> float:
        """Return the seconds of one call: of computing on a CPU, those that pass on a card."""
        began, computed = time.perf_counter(), time.thread_time()
        call(units)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self._last = time.perf_counter() - began
        if device.type == "cuda":
            return self._last
        took = time.thread_time() - computed
        self._passed += self._last
        self._computed += took
        return took


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End the work in this block after some seconds; in another thread than the main one it goes on.

    Raises:
        OutOfTime: the work was ended.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def end(*_: object) -> None:
        raise OutOfTime(f"it takes more than {seconds:.2g} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
