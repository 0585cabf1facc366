"""The layers of a step: each call of a convolution at the outermost level, with its name, its shapes and its time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

import pandas as pd

from Utils.trace import intervals
from Utils.trace.events import KERNEL, MARK, MODULE, OP, STEP, Event
from Utils.trace.kernel_classes import CONVOLUTION, CONVOLUTIONS
from Utils.trace.step import Step

COLUMNS = (
    "layer", "name", "pass", "operator", "input", "weight", "kernels", "start_ms", "end_ms", "time_us", "share_of_step",
    "share_of_busy", "main_kernel",
)  # fmt: skip


def layer_table(step: Step, busy: int) -> pd.DataFrame:
    """Build the table of layers: one row per convolution call, in the order of the calls.

    `layer` numbers the convolutions of the forward pass from 1. A convolution of the backward pass has the number and the name of
    the layer whose gradient it computes. Autograd's sequence numbers tell that layer; it is 0 if they were not recorded. The time
    of a layer is the length of the union of the intervals of its work. `busy` is the busy time of the step in nanoseconds.
    """
    calls = sorted((e for e in step.host if e.layer is e), key=lambda e: e.start)
    forward = [e for e in calls if e.work == CONVOLUTION]
    names = dict(zip(forward, _names(forward), strict=True))
    numbers = {e: i for i, e in enumerate(forward, start=1)}
    by_sequence = {e.sequence: e for e in reversed(forward) if e.sequence is not None}
    pieces: dict[Event, list[Event]] = defaultdict(list)
    for event in step.device if step.on_device else step.host:
        if event.layer is not None and event.work in CONVOLUTIONS and event.kind in (KERNEL, OP):
            pieces[event.layer].append(event)
    rows = []
    for call in calls:
        of = call if call.work == CONVOLUTION else by_sequence.get(_node_sequence(call))
        heading = (numbers.get(of, 0), names.get(of, "?"), "forward" if call.work == CONVOLUTION else "backward")
        rows.append((*heading, *_row(step, call, pieces[call], busy)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(step: Step, call: Event, pieces: list[Event], busy: int) -> tuple:
    """Return the columns after `pass`."""
    kernels = [e for e in pieces if e.kind == KERNEL]
    times = intervals.clip(intervals.spans(pieces), step.start, step.end)
    time = intervals.length(times)
    first, last = (times[:, 0].min(), times[:, 1].max()) if len(times) else (max(call.start, step.start),) * 2
    shapes = [shape for shape in call.shapes or () if shape]
    shown = shapes[:2] if call.work == CONVOLUTION else shapes[1:3]
    shape_of_input, weight = (_text(shown[i]) if i < len(shown) else "" for i in (0, 1))
    main = max(kernels, key=lambda e: e.length).name if kernels else ""
    return (call.name, shape_of_input, weight, len(kernels), (first - step.start) / 1e6, (last - step.start) / 1e6, time / 1e3,
            time / (step.end - step.start), time / busy if busy else 0.0, main)  # fmt: skip


def _text(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape))


def _names(calls: list[Event]) -> list[str]:
    """Return the name of each call.

    It is the name of the innermost annotation or module that surrounds this call and no other, else `conv N`. A name that occurs
    again (a module called twice) gets a count: `layer1.conv #2`.
    """
    around = Counter(mark for call in calls for mark in _marks(call))
    seen: Counter[str] = Counter()
    found = []
    for index, call in enumerate(calls, start=1):
        own = next((m.name.removeprefix(MODULE) for m in _marks(call) if around[m] == 1), f"conv {index}")
        seen[own] += 1
        found.append(own if seen[own] == 1 else f"{own} #{seen[own]}")
    return found


def _marks(call: Event) -> Iterator[Event]:
    """Yield the annotations around a call, from the innermost outwards, without those of steps."""
    above = call.parent
    while above is not None:
        if above.kind == MARK and not STEP.match(above.name):
            yield above
        above = above.parent


def _node_sequence(call: Event) -> int | None:
    """Return the sequence number of the autograd node that a backward call is part of."""
    above = call if call.sequence is not None else call.operator
    while above is not None and above.sequence is None:
        above = above.operator
    return above.sequence if above is not None else None
