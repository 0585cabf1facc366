"""The picture of a step: a row for each stream and thread, bars coloured by class of work, the layers numbered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from Utils.figures import style
from Utils.trace import intervals
from Utils.trace.events import OP, Event
from Utils.trace.kernel_classes import (
    BACKWARD,
    CLASSES,
    CONVOLUTION,
    CONVOLUTIONS,
    COPIES,
    ELEMENTWISE,
    LOSS,
    MATMUL,
    NORM,
    OTHER,
    POOLING,
)
from Utils.trace.step import Step

COLOURS = {
    CONVOLUTION: style.BLUE, BACKWARD: style.SKY, MATMUL: style.PURPLE, NORM: style.ORANGE, POOLING: style.YELLOW,
    LOSS: style.BLACK, ELEMENTWISE: style.GREEN, COPIES: style.VERMILION, OTHER: style.GREY,
}  # fmt: skip
IDLE, EARLIER = style.FAINT, style.PALE
WIDTH = 11.0  # inches
PIXELS = round(WIDTH * style.RESOLUTION)  # across the PNG
ROWS = 12  # at most; the busiest
HEIGHT = 0.72  # of a bar; rows are 1 apart
BARS = 300  # of the panel of layers, at most


def timeline_figure(step: Step, layers: pd.DataFrame, title: str) -> Figure:
    """Draw the step from start to end: threads of the host above, streams of the device below, grey in idle times.

    The numbers of the layers stand above the first row with convolutions, as many as fit. A second panel shows the time of each
    layer.
    """
    rows, left_out = _rows(step)
    with_layers = len(layers) > 0
    height = 1.5 + 0.42 * len(rows)
    figure = Figure((WIDTH, height + 2.2 * with_layers), layout="constrained")
    panels = figure.subplots(1 + with_layers, 1, squeeze=False, height_ratios=[height, 2.2][: 1 + with_layers])[:, 0]
    figure.suptitle(style.wrapped(title, WIDTH, 11), fontsize=11, parse_math=False)
    _draw_rows(panels[0], step, rows, layers)
    if left_out:
        panels[0].set_xlabel(f"{panels[0].get_xlabel()}; {left_out} rows in which less ran are not shown")
    shown = [name for name in CLASSES if any((e.work or OTHER) == name for _, events, _ in rows for e in events)]
    colours = {name: COLOURS[name] for name in shown} | {"idle": IDLE} | ({"earlier step": EARLIER} if step.foreign else {})
    handles = [Patch(color=colour, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False,
                  handlelength=1, columnspacing=1.2)  # fmt: skip
    if with_layers:
        _draw_layers(panels[1], layers)
    return figure


def _rows(step: Step) -> tuple[list[tuple[str, list[Event], list[Event]]], int]:
    """Return the busiest rows, and the number of rows left out.

    A row is (label, events, events of earlier steps). Threads that ran operators come first, then streams.
    """
    host: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in step.host:
        if event.kind == OP:
            host[event.thread].append(event)
    device: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in step.device:
        device[event.thread].append(event)
    several = len({place[0] for place in device}) > 1
    label = "CPU thread {}" if len(host) > 1 else "CPU"
    rows = [(label.format(i), own, []) for i, (_, own) in enumerate(sorted(host.items(), key=_first), start=1)]
    for (gpu, stream), own in sorted(device.items(), key=lambda item: [(len(word), word) for word in item[0]]):
        earlier = [e for e in step.foreign if e.thread == (gpu, stream)]
        rows.append((f"device {gpu}, stream {stream}" if several else f"stream {stream}", own, earlier))
    times = [intervals.length(intervals.spans(own)) for _, own, _ in rows]
    kept = sorted(sorted(range(len(rows)), key=lambda i: -times[i])[:ROWS])
    return [rows[i] for i in kept], len(rows) - len(kept)


def _first(item: tuple[tuple[str, str], list[Event]]) -> int:
    return min(event.start for event in item[1])


def _draw_rows(axes: Axes, step: Step, rows: Sequence[tuple[str, list[Event], list[Event]]], layers: pd.DataFrame) -> None:
    """Draw the bars. If several classes run at once in a row, the first of CLASSES is visible."""
    wall = (step.end - step.start) / 1e6
    for place, (_, events, earlier) in enumerate(rows):
        axes.broken_barh([(0, wall)], (place - HEIGHT / 2, HEIGHT), color=IDLE, linewidth=0)
        before = intervals.clip(intervals.spans(earlier), step.start, step.end) - step.start
        axes.add_collection(_bars(before, place, EARLIER, wall))
        for name in reversed(CLASSES):
            own = intervals.clip(intervals.spans(e for e in events if (e.work or OTHER) == name), step.start, step.end)
            axes.add_collection(_bars(own - step.start, place, COLOURS[name], wall))
    if step.marked_end < step.end:
        axes.axvline((step.marked_end - step.start) / 1e6, color="black", linewidth=0.8, linestyle="--")
        axes.annotate("end of annotation ", ((step.marked_end - step.start) / 1e6, -0.9), fontsize=7, ha="right", va="top")
    target = next((i for i, (_, events, _) in enumerate(rows) if _has_layers(events, step)), None)
    if target is not None:
        _number(axes, layers, target, wall)
    top = -0.95 if step.marked_end < step.end else -0.65
    axes.set(xlim=(0, wall), ylim=(len(rows) - 0.4, top), xlabel="time since the start of the step (ms)")
    axes.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=9, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _has_layers(events: Sequence[Event], step: Step) -> bool:
    """Tell whether the row is one that layers are timed in."""
    return any(e.work in CONVOLUTIONS and (e.kind == OP) != step.on_device for e in events)


def _bars(times: np.ndarray, place: int, colour: str, wall: float) -> PolyCollection:
    """Make bars of one colour; gaps too narrow to be visible are closed, so that files of large traces stay small."""
    joined = intervals.union(times)
    if len(joined):
        unseen = wall * 1e6 / PIXELS / 4
        first = np.flatnonzero(np.concatenate(([True], joined[1:, 0] - joined[:-1, 1] > unseen)))
        joined = np.column_stack((joined[first, 0], joined[np.append(first[1:], len(joined)) - 1, 1]))
    low, high = place - HEIGHT / 2, place + HEIGHT / 2
    corners = [[(a, low), (b, low), (b, high), (a, high)] for a, b in (joined / 1e6).tolist()]
    return PolyCollection(corners, facecolors=colour, edgecolors=colour, linewidths=0.15)


def _number(axes: Axes, layers: pd.DataFrame, place: int, wall: float) -> None:
    """Write the numbers of the layers above their bars, without those that would collide with the number before."""
    rows = layers[(layers["time_us"] > 0) & (layers["layer"] > 0)].sort_values("start_ms")
    used = -1.0
    for number, start, end in zip(rows["layer"], rows["start_ms"], rows["end_ms"], strict=True):
        middle, half = (start + end) / 2, wall / (WIDTH - 1.2) * 0.033 * (len(str(number)) + 0.6)
        if middle - half >= used:
            axes.text(middle, place - HEIGHT / 2 - 0.03, str(number), fontsize=6.5, ha="center", va="bottom")
            used = middle + half


def _draw_layers(axes: Axes, layers: pd.DataFrame) -> None:
    """Draw the time of each layer, forward and backward pass side by side.

    With very many layers, it draws the longest of several neighbours.
    """
    group = -(-int(layers["layer"].max() - layers["layer"].min() + 1) // BARS)
    passes = [name for name in ("forward", "backward") if (layers["pass"] == name).any()]
    width = 0.8 * group / len(passes)
    for index, name in enumerate(passes):
        own = layers[layers["pass"] == name]
        first = layers["layer"].min() + (own["layer"] - layers["layer"].min()) // group * group
        times = own["time_us"].groupby(first).max() if group > 1 else own.set_index("layer")["time_us"]
        places = times.index + (group - 1) / 2 + (index - (len(passes) - 1) / 2) * width
        axes.bar(places, times, width, color=COLOURS[CONVOLUTION if name == "forward" else BACKWARD], label=name)
    grouped = f"layer; the longest of {group} neighbours" if group > 1 else "layer"
    axes.set(xlabel=grouped, ylabel="convolution (µs)", xlim=(layers["layer"].min() - 0.7, layers["layer"].max() + 0.7))
    axes.tick_params(labelsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(True, axis="y", color=style.LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    if len(passes) > 1:
        axes.legend(fontsize=8, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
