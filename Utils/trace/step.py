"""The measured part of a trace: one step, from its beginning until the last work that it launched has ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from Utils.base.errors import Refused
from Utils.trace.events import DEVICE, LAUNCH, MARK, OP, STEP, Event
from Utils.trace.reading import Trace

KERNEL_CALL = re.compile(r"launch(?!host)", re.IGNORECASE)  # cudaLaunchKernel, cuLaunchKernelEx, hipModuleLaunchKernel, ...
NO_KERNELS = (
    "no kernel events, though {count} kernels were launched: the profiler did not record the GPU. Try ProfilerActivity.CUDA, a "
    "warm-up step before the recorded one, another PyTorch (2.5.1) or an older GPU, or profile on the CPU"
)


@dataclass
class Step:
    """One step; times in nanoseconds.

    Attributes:
        name: `ProfilerStep#N`, or `whole trace`.
        chosen: the reason for the choice, in words.
        start: the beginning of its annotation.
        marked_end: the end of its annotation.
        end: the end of the last work that it launched, if that is later than `marked_end`.
        on_device: whether the trace has work of a device.
        host: the operators and calls that began in the step.
        device: the work of the device that the step launched.
        foreign: other work of the device between `start` and `end`, which an earlier step launched.
    """

    name: str
    chosen: str
    start: int
    marked_end: int
    end: int
    on_device: bool
    host: list[Event]
    device: list[Event]
    foreign: list[Event]


def find_step(trace: Trace, number: int | None = None) -> Step:
    """Find the step `ProfilerStep#number`, or the last complete one; without any annotation, the whole trace.

    A step is complete if it holds at least half as much work (operators and activities of the device) as the fullest one:
    profilers also annotate the moment between the last iteration and their end.

    Raises:
        Refused: there is no such step, or a program that launched kernels has no record of them.
    """
    device = [e for e in trace.events if e.kind in DEVICE]
    _check_kernels(trace.path, "", [e for e in trace.events if e.kind == LAUNCH], device)
    amount = _amounts(trace.events, device)
    marks = _annotated(trace.events, amount)
    if number is not None and number not in marks:
        raise Refused(f"{trace.path} has no ProfilerStep#{number}: choose from {', '.join(map(str, marks)) or 'none'}")
    if number is not None:
        return _cut(trace, marks[number], f"ProfilerStep#{number}", f"as asked, of {len(marks)} in the file", device)
    if marks:
        amounts = {n: amount(mark) for n, mark in marks.items()}
        complete = [n for n, found in amounts.items() if found >= max(amounts.values()) / 2]
        number, count = complete[-1], len(complete)
        chosen = f"the last of {count} complete steps" if count > 1 else "the only complete step"
        chosen += f", of {len(marks)} annotated" if len(marks) > count else ""
        return _cut(trace, marks[number], f"ProfilerStep#{number}", chosen, device)
    work = [e for e in trace.events if e.kind == OP or e.kind in DEVICE]
    start, end = min(e.start for e in work), max(e.end for e in work)
    chosen = "no ProfilerStep is annotated: from the first operator or kernel to the last"
    host = [e for e in trace.events if e.kind in (OP, LAUNCH)]
    return Step("whole trace", chosen, start, end, end, bool(device), host, device, [])


def _annotated(events: Sequence[Event], amount: Callable[[Event], int]) -> dict[int, Event]:
    """Return the annotations of steps by their number, in order of time.

    Of several annotations with one number it keeps the longest one in which work began.
    """
    marks: dict[int, Event] = {}
    for event in sorted((e for e in events if e.kind == MARK), key=lambda e: e.start):
        if (match := STEP.match(event.name)) and event.length:
            kept = marks.get(int(match[1]))
            better = kept is None or (amount(event) > 0, event.length) > (amount(kept) > 0, kept.length)
            marks[int(match[1])] = event if better else kept
    return dict(sorted(marks.items(), key=lambda item: item[1].start))


def _amounts(events: Sequence[Event], device: list[Event]) -> Callable[[Event], int]:
    """Return a function that counts the work that began in an annotation.

    The count is 0 where the trace has a device and the annotation launched nothing on it.
    """
    hosts = np.sort(np.array([e.start for e in events if e.kind == OP], dtype=np.int64))
    works = np.sort(np.array([_told(e) for e in device], dtype=np.int64))

    def count(times: np.ndarray, mark: Event) -> int:
        return int(np.diff(np.searchsorted(times, (mark.start, mark.end)))[0])

    return lambda mark: 0 if device and not count(works, mark) else count(hosts, mark) + count(works, mark)


def _told(event: Event) -> int:
    """Return the time at which the host launched this work; where that is unknown, the time at which it began."""
    return event.start if event.launched is None else event.launched


def _cut(trace: Trace, mark: Event, name: str, chosen: str, device: list[Event]) -> Step:
    """Cut out the step that `mark` annotates."""
    own = [e for e in device if mark.start <= _told(e) < mark.end]
    host = [e for e in trace.events if e.kind in (OP, LAUNCH) and mark.start <= e.start < mark.end]
    _check_kernels(trace.path, f"{name} has ", [e for e in host if e.kind == LAUNCH], own)
    end = max(mark.end, *(e.end for e in own)) if own else mark.end
    mine = set(own)
    foreign = [e for e in device if e not in mine and e.start < end and e.end > mark.start]
    return Step(name, chosen, mark.start, mark.end, end, bool(device), host, own, foreign)


def _check_kernels(path: str, where: str, calls: Sequence[Event], device: Sequence[Event]) -> None:
    launched = sum(1 for e in calls if KERNEL_CALL.search(e.name))
    if launched and not device:
        raise Refused(f"{path}: {where}{NO_KERNELS.format(count=launched)}")
