"""Measurements of a step: busy and convolution time, classes of work, operators, gaps, attribution of kernels."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.base.errors import Refused
from Utils.trace import intervals
from Utils.trace.attribution import EXTERNAL, LAUNCHED, NAME, attribute
from Utils.trace.convolutions import layer_table
from Utils.trace.events import KERNEL, LAUNCH, OP, Event
from Utils.trace.gaps import largest_gaps
from Utils.trace.kernel_classes import BACKWARD, CLASSES, CONVOLUTION, CONVOLUTIONS, OTHER
from Utils.trace.reading import Trace, read
from Utils.trace.step import KERNEL_CALL, Step, find_step

NO_OPERATOR = "(no operator)"


@dataclass
class Measured:
    """A measured step: `summary` for JSON, with times in milliseconds and shares of 1, and the table of its layers."""

    step: Step
    summary: dict[str, Any]
    layers: pd.DataFrame


def measure(path: str | Path, number: int | None = None) -> Measured:
    """Measure one step of a trace file: `ProfilerStep#number`, or the last complete one.

    Raises:
        Refused: the file is no trace, has no such step, or nothing ran in that step.
    """
    trace = read(path)
    attribute(trace.events)
    step = find_step(trace, number)
    pieces = busy_pieces(step)
    busy = intervals.length(_inside(step, pieces))
    if not busy:
        raise Refused(f"{trace.path}: nothing ran in {step.name}")
    layers = layer_table(step, busy)
    summary = {
        "trace": trace.path,
        "on": "device" if step.on_device else "cpu",
        "step": _step_row(step),
        "busy": _busy(trace, step, pieces, busy),
        "convolution": _convolution(step, pieces, layers, busy),
        "classes": _classes(step, pieces, busy),
        "operators": _operators(step),
        "gaps": largest_gaps(step, pieces),
        "attribution": _attribution(step),
        "events": {
            "used": len(trace.events),
            "broken": trace.broken,
            **({"repaired": trace.repaired} if trace.repaired else {}),
            "contradicting_links": sum(e.contradicted for e in step.device),
            "other": dict(trace.other.most_common()),
        },
    }
    return Measured(step, summary, layers)


def busy_pieces(step: Step) -> list[Event]:
    """Return the events that make a step busy.

    On a device they are its kernels, copies and memsets. On the CPU they are the operators, nested or not.
    """
    return step.device if step.on_device else [e for e in step.host if e.kind == OP]


def _inside(step: Step, events: Sequence[Event]) -> Any:
    return intervals.clip(intervals.spans(events), step.start, step.end)


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "chosen": step.chosen,
        "wall_ms": (step.end - step.start) / 1e6,
        "after_annotation_ms": (step.end - step.marked_end) / 1e6,
        "start_us": step.start / 1e3,
    }


def _busy(trace: Trace, step: Step, pieces: Sequence[Event], busy: int) -> dict[str, Any]:
    """Return the busy time over all streams, that of each device (on the CPU: of each thread), and the rest of the step."""
    wall = step.end - step.start
    rows: dict[str, list[Event]] = defaultdict(list)
    for event in pieces:
        rows[event.thread[0] if step.on_device else event.thread[1]].append(event)
    everything = intervals.length(_inside(step, [*pieces, *step.foreign]))
    known = trace.devices if step.on_device else {}
    return {
        "ms": busy / 1e6,
        "share_of_step": busy / wall,
        "idle_ms": (wall - everything) / 1e6,
        "earlier_steps_ms": (everything - busy) / 1e6,
        "rows": [
            {
                "row": row,
                "name": known.get(row, ""),
                "ms": (time := intervals.length(_inside(step, own))) / 1e6,
                "share_of_step": time / wall,
                "streams": len({e.thread for e in own}),
            }
            for row, own in sorted(rows.items())
        ],
    }


def _convolution(step: Step, pieces: Sequence[Event], layers: pd.DataFrame, busy: int) -> dict[str, Any]:
    """Return the time in which at least one convolution ran: forward, backward, and either.

    On a device it counts every kernel launched inside a convolution, so that changes of layout, casts of mixed precision and
    biases count. Copies and memsets do not count.
    """
    wall = step.end - step.start
    found = {}
    for name, works in (("forward", (CONVOLUTION,)), ("backward", (BACKWARD,)), ("both", CONVOLUTIONS)):
        own = [e for e in pieces if e.work in works]
        time = intervals.length(_inside(step, own))
        found[name] = {
            "ms": time / 1e6,
            "share_of_step": time / wall,
            "share_of_busy": time / busy,
            "calls": len(layers) if name == "both" else int((layers["pass"] == name).sum()),
            "kernels": sum(e.kind == KERNEL for e in own),
            "kernels_by_name": sum(e.found_by == NAME for e in own),
        }
    return found


def _classes(step: Step, pieces: Sequence[Event], busy: int) -> list[dict[str, Any]]:
    """Return the busy time by class.

    Each instant counts once, for the first of CLASSES that ran, so that the shares add up to 1.
    """
    groups: dict[str, list[Event]] = {name: [] for name in CLASSES}
    for event in pieces:
        groups[event.work or OTHER].append(event)
    times = intervals.exclusive(_inside(step, own) for own in groups.values())
    return [
        {
            "class": name,
            "ms": time / 1e6,
            "share_of_busy": time / busy,
            "share_of_step": time / (step.end - step.start),
            "activities": sum(1 for e in own if step.on_device or e.operator is None or e.operator.work != e.work),
        }
        for (name, own), time in zip(groups.items(), times, strict=True)
    ]


def _operators(step: Step) -> list[dict[str, Any]]:
    """Return a row per operator name, the largest time first.

    The time on the device is that of the work that the operator itself launched, summed, also where streams overlap. The time on
    the CPU leaves out the operators inside.
    """
    own = [e for e in step.host if e.kind == OP]
    cpu: Counter[str] = Counter()
    for event in own:
        cpu[event.name] += event.length
        if (outer := event.operator) is not None and outer.start >= step.start:
            cpu[outer.name] -= max(min(event.end, outer.end) - event.start, 0)
    calls = Counter(e.name for e in own)
    device: Counter[str] = Counter()
    for event in step.device:
        device[event.parent.name if event.parent is not None else NO_OPERATOR] += event.length
    names = sorted(cpu.keys() | device.keys(), key=lambda n: (-device[n], -cpu[n], n) if step.on_device else (-cpu[n], n))
    return [{"operator": n, "self_device_ms": device[n] / 1e6, "self_cpu_ms": cpu[n] / 1e6, "calls": calls[n]} for n in names]


def _attribution(step: Step) -> dict[str, int]:
    """Count the kernels by the way in which their class was found, and the launches whose kernel the profiler lost."""
    kernels = [e for e in step.device if e.kind == KERNEL]
    ways = Counter(e.found_by for e in kernels)
    done = {e.correlation for e in step.device}
    lost = [e for e in step.host if e.kind == LAUNCH and KERNEL_CALL.search(e.name) and e.correlation not in done]
    return {
        "kernels": len(kernels),
        "by_launch": ways[LAUNCHED],
        "by_external_id": ways[EXTERNAL],
        "by_name": ways[NAME],
        "launches_without_kernel": len(lost) if step.on_device else 0,
    }
