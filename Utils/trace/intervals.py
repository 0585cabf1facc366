"""Sets of time as arrays of intervals: int64 (n, 2), each from its start up to but not including its end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from Utils.trace.events import Event


def spans(events: Iterable[Event]) -> np.ndarray:
    """Return the start and the end of each event in nanoseconds, int64 (n, 2)."""
    return np.array([(e.start, e.end) for e in events], dtype=np.int64).reshape(-1, 2)


def clip(times: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return the parts of the intervals that lie between `start` and `end`."""
    inside = np.clip(times, start, end)
    return inside[inside[:, 1] > inside[:, 0]]


def union(times: np.ndarray) -> np.ndarray:
    """Merge intervals into disjoint ones in ascending order, (m, 2).

    Intervals that touch are joined; empty ones are left out.
    """
    times = times[times[:, 1] > times[:, 0]]
    times = times[np.argsort(times[:, 0], kind="stable")]
    if not len(times):
        return times
    reached = np.maximum.accumulate(times[:, 1])
    first = np.flatnonzero(np.concatenate(([True], times[1:, 0] > reached[:-1])))
    return np.column_stack((times[first, 0], reached[np.append(first[1:], len(times)) - 1]))


def length(times: np.ndarray) -> int:
    """Return the length of the union: an instant in several intervals counts once."""
    joined = union(times)
    return int((joined[:, 1] - joined[:, 0]).sum())


def gaps(times: np.ndarray, start: int, end: int) -> np.ndarray:
    """Return the intervals between `start` and `end` in which nothing runs."""
    joined = union(clip(times, start, end))
    edges = np.concatenate(([start], joined.ravel(), [end])).reshape(-1, 2)
    return edges[edges[:, 1] > edges[:, 0]]


def exclusive(groups: Iterable[np.ndarray]) -> list[int]:
    """Return the length of each group of intervals without the instants of the groups before it.

    The lengths add up to the length of all groups together.
    """
    found, covered, before = [], np.empty((0, 2), np.int64), 0
    for times in groups:
        covered = union(np.concatenate((covered, times)))
        found.append(length(covered) - before)
        before += found[-1]
    return found
