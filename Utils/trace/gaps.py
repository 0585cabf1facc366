"""Gaps of a step, in which nothing ran on the device (on the CPU: no operator), and the CPU's activity in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from Utils.trace import intervals
from Utils.trace.events import LAUNCH, OP, Event
from Utils.trace.step import Step


def largest_gaps(step: Step, pieces: Sequence[Event], count: int = 5) -> list[dict[str, Any]]:
    """Return the longest gaps of a step.

    Each has its beginning (ms after the start of the step), its length (ms), the work before and after it, and the activity of
    the CPU. Work that earlier steps launched fills gaps too.
    """
    work = [*pieces, *step.foreign]
    times = intervals.spans(work)
    found = intervals.gaps(times, step.start, step.end)
    order = np.argsort(found[:, 0] - found[:, 1], kind="stable")[:count]
    return [
        {
            "start_ms": (start - step.start) / 1e6,
            "length_ms": (end - start) / 1e6,
            "after": _last(work, times, start),
            "before": _next(work, times, end),
            "cpu": _doing(step, start, end),
        }
        for start, end in found[order].tolist()
    ]


def short(name: str) -> str:
    """Shorten a kernel's name: drop `void`, template parameters and arguments; a copy keeps its direction in brackets."""
    if name.startswith("Mem"):
        return name
    plain = name.replace("(anonymous namespace)::", "").removeprefix("void ").replace("at::native::", "")
    return plain.partition("<")[0].partition("(")[0] or name


def _last(work: Sequence[Event], times: np.ndarray, moment: int) -> str:
    ended = np.flatnonzero(times[:, 1] <= moment)
    return short(work[ended[times[ended, 1].argmax()]].name) if len(ended) else "start of the step"


def _next(work: Sequence[Event], times: np.ndarray, moment: int) -> str:
    begun = np.flatnonzero(times[:, 0] >= moment)
    return short(work[begun[times[begun, 0].argmin()]].name) if len(begun) else "end of the step"


def _doing(step: Step, start: int, end: int) -> str:
    """Describe the activity of the CPU in a gap.

    It names the outermost operator, or the call outside of operators, that filled most of the gap. It adds the call that the
    operator waited in, where that took half the gap, and the share of the gap without any operator, in which Python was running
    or the program waiting.
    """
    near = [e for e in step.host if e.start < end and e.end > start]
    outer = [e for e in near if e.operator is None and not (e.kind == LAUNCH and e.length == 0)]
    covered = intervals.length(intervals.clip(intervals.spans(outer), start, end)) / (end - start)
    by_name: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in near:
        inside = min(event.end, end) - max(event.start, start)
        if event.kind == LAUNCH and event.operator is not None:
            calls[event.name] += inside
        elif (event.kind == OP and event.operator is None) or event.kind == LAUNCH:
            by_name[event.name] += inside
    said = f"no operator {1 - covered:.0%}" if covered < 0.995 else ""
    if by_name:
        name, time = by_name.most_common(1)[0]
        waited = [f" (in {call})" for call, spent in calls.most_common(1) if spent >= (end - start) / 2]
        said = f"{name} {min(time / (end - start), 1):.0%}{''.join(waited)}" + f", {said}" * bool(said)
    return said
