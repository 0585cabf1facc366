"""Timing of work that the device does while the host continues."""

from __future__ import annotations

import statistics
import time
from typing import NamedTuple

from benchmarks.gpu.card import Card, Work
from benchmarks.gpu.sizes import Sizes

WARM_UP, FIRST_LOOK = 3, 2  # calls
ISSUED = 3  # calls whose issuing is timed; the queue holds a thousand kernels, and a host that fills it has to wait


class Timing(NamedTuple):
    """The seconds of a call, and those that the host needs to issue it."""

    seconds: float
    host: float


def measure(card: Card, work: Work, sizes: Sizes) -> Timing:
    """Time `work` after a warm-up: the median of several turns, each of as many calls as take `sizes.turn` seconds."""
    for _ in range(WARM_UP):
        work()
    once = spent(card, work, FIRST_LOOK).seconds
    fewest, most = sizes.calls
    calls = max(fewest, min(most, int(sizes.turn / max(once, 1e-9))))
    seconds = statistics.median(spent(card, work, calls).seconds for _ in range(sizes.turns))
    return Timing(seconds, statistics.median(spent(card, work, ISSUED).host for _ in range(sizes.turns)))


def spent(card: Card, work: Work, calls: int) -> Timing:
    """Time `calls` calls, with an idle device before and after them; the result is for one."""
    card.wait()
    began = time.perf_counter()
    for _ in range(calls):
        work()
    issued = time.perf_counter()
    card.wait()
    return Timing((time.perf_counter() - began) / calls, (issued - began) / calls)
