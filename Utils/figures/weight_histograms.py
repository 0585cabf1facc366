"""Figures of the weights that each layer kept: small panels for all layers, large ones for some, and a view in depth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from Utils.figures.style import BLUE, GREY, LATE, PALE, PALE_BLUE, label_axes, make_panels, wrapped
from Utils.measure.weight_histogram import Layer

FILL, EDGE = PALE_BLUE, BLUE  # light inside a dark line, so that the shape is visible without colour
PANEL, GAP = (1.4, 0.8), (0.38, 0.2)  # inches: the axes of a small panel; left of it and below it, for the ticks
LINE = 0.112  # inches of a line of a small panel's title
HEADING = 0.15  # inches of a line of a figure's title
WIDE, TALL = 4.2, 1.3  # inches of the weight axis and the share axis in depth
FEW = 20  # weights that are too few for a distribution
LETTERS = 25  # of a layer's name that fit on a line


def grid_figure(layers: Sequence[Layer], title: str, log: bool = False, columns: int = 0) -> Figure:
    """Draw a small panel for every layer, each with its own scales: the number of kept weights in each bin.

    `columns` is the number of panels side by side; 0 stands for one that suits the number of layers.
    """
    columns = min(columns, len(layers)) or _columns_for(layers)
    rows = math.ceil(len(layers) / columns)
    lines = max((_wrapped(layer.name) + _details(layer)).count("\n") + 2 for layer in layers)
    cell = (PANEL[0] + GAP[0] + 0.06, PANEL[1] + GAP[1] + LINE * lines + 0.12)
    width = max(columns * cell[0] + 0.3, 4.2)
    heading = wrapped(title, width, 9)
    top = 0.25 + HEADING * heading.count("\n")  # inches above the panels
    height, left = rows * cell[1] + top + 0.23, (width - columns * cell[0] + 0.2) / 2
    figure = Figure((width, height))
    figure.text(0.5, 1 - 0.06 / height, heading, fontsize=9, ha="center", va="top", parse_math=False)
    figure.text(0.5, 0.05 / height, "weight", fontsize=8, ha="center")
    figure.text(0.06 / width, 0.5, f"kept weights per bin{' (logarithmic)' if log else ''}", fontsize=8, rotation=90, va="center")
    for index, layer in enumerate(layers):
        x = left + index % columns * cell[0] + GAP[0]
        y = height - top - (index // columns + 1) * cell[1] + GAP[1]
        axes = figure.add_axes((x / width, y / height, PANEL[0] / width, PANEL[1] / height))
        axes.tick_params(labelsize=6, length=2, pad=1.5)
        axes.xaxis.get_offset_text().set_fontsize(6)
        details = _details(layer)
        axes.set_title(details, fontsize=6.5, loc="left", pad=3, linespacing=1.15, parse_math=False)
        above = 3 + 72 * LINE * (details.count("\n") + 1)
        axes.annotate(_wrapped(layer.name), (0, 1), (0, above), "axes fraction", "offset points", fontsize=7, fontweight="bold",
                      linespacing=1.15, parse_math=False)  # fmt: skip
        _draw(axes, layer, log, ticks=3, size=7)
    return figure


def _columns_for(layers: Sequence[Layer]) -> int:
    return 2 if len(layers) in (2, 4) else min(len(layers), 3 if len(layers) <= 9 else 4 if len(layers) <= 32 else 5)


def _details(layer: Layer) -> str:
    lost = f"\n{layer.not_finite:,} not finite" if layer.not_finite else ""
    return f"{_shape(layer)}, density {layer.density:.3g}\n{_counts(layer)}{lost}"


def _counts(layer: Layer) -> str:
    return f"{layer.kept:,} kept, {layer.size - layer.kept:,} pruned"


def _wrapped(name: str) -> str:
    """Break a long name into several lines, after its dots."""
    lines = [""]
    for part in name.replace(".", ".\n").split("\n"):
        if lines[-1] and len(lines[-1]) + len(part) > LETTERS:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _shape(layer: Layer) -> str:
    return "\u00d7".join(map(str, layer.shape)) or "scalar"


def _draw(axes: Axes, layer: Layer, log: bool, ticks: int, size: int) -> None:
    """Draw the bins of one layer as steps, or words if it has no finite weight."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if layer.kept == layer.not_finite:
        axes.text(0.5, 0.5, "no finite weight" if layer.kept else "nothing kept", transform=axes.transAxes, fontsize=size,
                  ha="center", va="center")  # fmt: skip
        axes.set(xticks=[], yticks=[])
        return
    bins = layer.own
    axes.stairs(bins.counts, bins.edges, fill=True, facecolor=FILL, edgecolor=EDGE, linewidth=0.5)
    axes.axvline(0, color=GREY, linewidth=0.5, zorder=0)
    axes.set_xlim(1.03 * bins.edges[0], 1.03 * bins.edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(ticks, symmetric=True))
    if log:
        axes.set_yscale("log")
        axes.set_ylim(0.7, bins.counts.max() * 1.5)
        axes.yaxis.set_major_locator(LogLocator(subs=(1,) if bins.counts.max() > 20 else (1, 2, 5), numticks=ticks + 1))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(0, bins.counts.max() * 1.05)
        axes.yaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))


def layer_figure(layers: Sequence[Layer], title: str, log: bool = False) -> Figure:
    """Draw a large panel for each of a few layers, on one scale of weights, with the bins of each layer."""
    figure, panels = make_panels(len(layers), title)
    finite = [layer for layer in layers if layer.kept > layer.not_finite]
    widest = max((layer.own.edges[-1] for layer in finite), default=1.0)
    for axes, layer in zip(panels, layers, strict=True):
        width = layer.own.edges[1] - layer.own.edges[0]
        if layer in finite:
            label_axes(axes, "weight", f"kept weights per bin of {width:.3g}")
        title_lines = [f"{layer.name}, {_shape(layer)}", _counts(layer)]
        title_lines += [f"{layer.not_finite:,} of the kept are not finite"] if layer.not_finite else []
        title_lines.append(f"density {layer.density:.4g}, sparsity {1 - layer.density:.4g}")
        if layer in finite:
            title_lines.append(f"mean {layer.mean:.3g}, standard deviation {layer.std:.3g}".replace("-", "\u2212"))
        axes.set_title("\n".join(title_lines), fontsize=9, parse_math=False)
        _draw(axes, layer, log, ticks=6, size=11)
        if layer in finite:
            axes.set_xlim(-1.02 * widest, 1.02 * widest)
    return figure


def stacked_figure(layers: Sequence[Layer], title: str) -> Figure:
    """Draw all layers in depth, the first in front: the share of each layer's kept weights in common bins.

    It is a drawing in oblique projection: x is the weight, y goes from front to back, z is the share. Layers with only a few kept
    weights do not set the scale of z; higher bars are cut off, and the layer's name says so.
    """
    rows = len(layers)
    step = np.array([min(0.12, 1.6 / rows), min(0.4, max(0.12, 4.4 / rows))])  # inches from a layer to the one behind
    corner, depth = np.array([0.35, 0.5]), step * (rows - 1)
    shares = [layer.common.counts / max(layer.kept - layer.not_finite, 1) for layer in layers]
    ends = layers[0].common.edges
    peaks = [float(share.max()) for share in shares]
    enough = [peak for peak, layer in zip(peaks, layers, strict=True) if layer.kept - layer.not_finite >= FEW]
    top = max(enough or peaks) or 1.0
    names = [_row_name(layer, peak, top) for layer, peak in zip(layers, peaks, strict=True)]
    corner[0] = max(corner[0], 0.85 - depth[0])
    right = max(0.062 * len(name) + i * step[0] for i, name in enumerate(names)) + 0.15
    size = corner + np.array([WIDE + right, depth[1] + TALL + 0.4])
    heading = wrapped(title, size[0], 9)
    size[1] += HEADING * heading.count("\n")
    figure = Figure(tuple(size))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(0, size[1]))
    axes.set_axis_off()
    axes.text(size[0] / 2, size[1] - 0.06, heading, fontsize=9, ha="center", va="top", parse_math=False)
    _draw_box(axes, corner, corner + depth, ends, top)
    for index in range(rows):
        x, y = corner + index * step
        left, heights = x + WIDE * (ends / ends[-1] + 1) / 2, y + TALL * np.minimum(shares[index] / top, 1)
        colour = 0.65 * np.array(LATE(index / max(rows - 1, 1))[:3]) + 0.35  # light enough for black outlines
        axes.stairs(heights, left, baseline=y, fill=True, facecolor=colour, linewidth=0, zorder=3 - index / rows)
        axes.stairs(heights, left, baseline=y, color="black", linewidth=0.4, zorder=3 - index / rows)
        axes.text(x + WIDE + 0.06, y, names[index], fontsize=7, va="center", parse_math=False)
    return figure


def _row_name(layer: Layer, peak: float, top: float) -> str:
    if layer.kept == layer.not_finite:
        return f"{layer.name} ({'none finite' if layer.kept else 'nothing kept'})"
    return layer.name if peak <= top else f"{layer.name} ({layer.kept:,} kept; cut off, peak {peak:.2g})"


def _draw_box(axes: Axes, front: np.ndarray, back: np.ndarray, ends: np.ndarray, top: float) -> None:
    """Draw floor, back wall and ticks of a box, given the left corners in front and at the back."""
    style = {"color": PALE, "linewidth": 0.6, "zorder": 1}
    for tick in MaxNLocator(5, symmetric=True).tick_values(ends[0], ends[-1]):
        x = WIDE * (tick / ends[-1] + 1) / 2
        if 0 <= x <= WIDE:
            axes.plot([front[0] + x, back[0] + x, back[0] + x], [front[1], back[1], back[1] + TALL], **style)
            axes.text(front[0] + x, front[1] - 0.06, f"{tick:.4g}".replace("-", "\u2212"), fontsize=7, ha="center", va="top")
    for tick in MaxNLocator(4).tick_values(0, top):
        z = TALL * tick / top
        if z <= TALL:
            axes.plot([back[0], back[0] + WIDE], [back[1] + z] * 2, **style)
            axes.text(back[0] - 0.06, back[1] + z, f"{tick:.3g}", fontsize=7, ha="right", va="center")
    axes.text(front[0] + WIDE / 2, front[1] - 0.22, "weight", fontsize=8, ha="center", va="top")
    z_label = f"share of the layer's kept weights\nper bin of {ends[1] - ends[0]:.3g}"
    axes.text(back[0] - 0.42, back[1] + TALL / 2, z_label, fontsize=7, rotation=90, ha="right", va="center", linespacing=1.1)
