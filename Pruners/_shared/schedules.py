"""Schedules: the density at each point of the way from a start to a target. No torch, so that the help can list them.

A schedule is a frozen object with the method `density`. A pruner's file may define a class of its own and hand in an object of
it as the class attribute `schedule`; a schedule with a name in `SCHEDULES` is also a choice of `--compression-schedule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from Pruners._shared.lookup import look_up


class Schedule(Protocol):
    """The density as a function of progress; a pure function, without state."""

    def density(self, progress: float, start: float, target: float) -> float:
        """Return the density at `progress`, above 0 and below 1, on the way from `start` to `target`."""
        ...


@dataclass(frozen=True)
class Linear:
    """s - (s - d) p: every round removes the same number of weights."""

    def density(self, progress: float, start: float, target: float) -> float:
        """Return s - (s - d) p for s = `start`, d = `target`, p = `progress`."""
        return start - (start - target) * progress


@dataclass(frozen=True)
class Exponential:
    """s (d / s)^p: every round removes the same share of the weights that are left.

    From s = 1 it is the schedule of SynFlow (Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, algorithm 1).
    """

    def density(self, progress: float, start: float, target: float) -> float:
        """Return s (d / s)^p for s = `start`, d = `target`, p = `progress`."""
        return start * (target / start) ** progress


SCHEDULES: Mapping[str, Schedule] = {"linear": Linear(), "exponential": Exponential()}
DEFAULT = "exponential"  # the default of `--compression-schedule`, which stands for the method's own schedule


def scheduled_density(schedule: Schedule | str, density: float, round_index: int, rounds: int, start: float = 1.0) -> float:
    """Return the density after round `round_index` (from 0) of `rounds`, on the way from `start` to `density`.

    After the last round it is `density` to the last digit, whatever the schedule.

    Raises:
        ValueError: no schedule has this name.
    """
    schedule = look_up(schedule, SCHEDULES, "compression schedule")
    if round_index + 1 == rounds:
        return density
    return schedule.density((round_index + 1) / rounds, start, density)
