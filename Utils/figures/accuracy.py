"""Figures of runs against compression or FLOPs: accuracy, time, cost; a line per method, a band over its seeds.

All take `runs`, a row per run: `pruner` (`dense` for an unpruned network), `compression` (log10 of total over kept), `seed`, the
columns drawn, and, if known, `collapsed`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from Pruners import DENSE
from Utils.figures.scales import log_ticks, main_range, name_beyond, say_below, set_log_ticks
from Utils.figures.style import GREY, Look, band_label, in_order, label_axes, legend_below, looks, make_panels

ALPHA_LABEL = "α = log₁₀ ρ"
ACCURACY = "last-epoch top-1 (%)"
SAME = 0.001  # share of a value within which two points cannot be told apart
APART = 0.065  # share of the axis' length: the least distance of two labels on top


@dataclass(frozen=True)
class CurveStyle:
    """What a document may choose about a figure of curves.

    Attributes:
        size: width and height in inches without the legend; None for the usual one.
        names: the names of methods in the legend, where they have others there.
        from_zero: whether the axis of values begins at zero.
        looks: the looks of methods that are none of `Pruners/`.
        exponents: whether the one axis of compressions has their exponents, the values of `--compression`, instead of ratios.
    """

    size: tuple[float, float] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    from_zero: bool = True
    looks: Mapping[str, Look] = field(default_factory=dict)
    exponents: bool = False


def accuracy_figure(runs: pd.DataFrame, title: str) -> Figure:
    """Draw `accuracy` (percent) against the compression ratio; every line starts at the dense network if there is one.

    A few accuracies far below all others lie beyond the axis, and are named there.
    """
    figure, points = _against_compression(runs, "accuracy", title, ACCURACY)
    _cut_below(figure.axes[0], points)
    return figure


def compression_figure(
    runs: pd.DataFrame, column: str, title: str, ylabel: str, log: bool = False, style: CurveStyle = CurveStyle()
) -> Figure:
    """Draw any `column`, such as seconds or FLOPs, against the compression ratio.

    The axis begins at zero, or is logarithmic with `log`, or follows the points of a style that is not `from_zero`. A few values
    far above all others lie beyond an axis from zero, and are named there.
    """
    figure, points = _against_compression(runs, column, title, ylabel, style)
    axes = figure.axes[0]
    if not style.from_zero:
        return figure
    if log:
        axes.set_yscale("log")
        axes.set_ylim(*axes.get_ylim())
        set_log_ticks(axes.yaxis, *axes.get_ylim())
        return figure
    highest, cut = axes.dataLim.y1, main_range(points["mean"])
    if cut and cut[1] < points["mean"].max():
        highest = cut[1]
    axes.set_ylim(0, 1.06 * highest if math.isfinite(highest) and highest > 0 else 1)
    name_beyond(axes, _named(points))
    return figure


def _cut_below(axes: Axes, points: pd.DataFrame) -> None:
    """Leave a few accuracies that are far below all others beyond the axis, and name them there."""
    cut = main_range(points["mean"])
    if cut and cut[0] > points["mean"].min():
        air = 0.06 * max(cut[1] - cut[0], 1)
        axes.set_ylim(cut[0] - air, cut[1] + air)
        name_beyond(axes, _named(points))


def _named(points: pd.DataFrame) -> list[tuple[str, float]]:
    return [(f"{row.pruner}, α = {row.compression:.3g}", row.mean) for row in points.itertuples(index=False)]


def _against_compression(
    runs: pd.DataFrame, column: str, title: str, ylabel: str, style: CurveStyle = CurveStyle()
) -> tuple[Figure, pd.DataFrame]:
    """Draw a column, and return the figure and its points (see `_points`)."""
    points = _points(runs, column)
    points["x"] = 10 ** points["compression"]
    figure, axes = _draw(points, title, {**looks(runs["pruner"]), **style.looks}, style)
    label_axes(axes, "compression ratio ρ = total / kept weights (log axis)", ylabel)
    low, high = _limits(points["x"])
    axes.set_xlim(low, high)
    shown = _spread(sorted(points["compression"].unique()), APART * math.log10(high / low))
    if style.exponents:
        axes.set_xlabel("compression", fontsize=10)
        _set_exponents(axes.xaxis, shown)
    else:
        _set_ticks(axes, [tick for tick in log_ticks(low, high) if tick >= 1])
        top = axes.secondary_xaxis("top")
        top.set_xlabel(ALPHA_LABEL, fontsize=9)
        top.tick_params(labelsize=8)
        _set_exponents(top.xaxis, shown)
    if same := _covered(points):
        say_below(axes, f"The lines of {', '.join(same)} lie on each other")
    return figure, points


def _covered(points: pd.DataFrame) -> list[str]:
    """Name the methods whose points are all those of another method, which hides them."""
    values = points[points["pruner"] != DENSE].pivot(index="compression", columns="pruner", values="mean").dropna(axis=1)
    same = [one for one in values if any(np.allclose(values[one], values[o], rtol=SAME) for o in values if o != one)]
    return in_order(same)


def _set_exponents(axis: Axis, exponents: Sequence[float]) -> None:
    """Label the ratios of an axis by their exponents."""
    axis.set_major_locator(FixedLocator([10**alpha for alpha in exponents]))
    axis.set_major_formatter(FixedFormatter([f"{alpha:.3g}" for alpha in exponents]))
    axis.set_minor_locator(NullLocator())


def flops_accuracy_figure(runs: pd.DataFrame, title: str) -> Figure:
    """Draw `accuracy` against the mean `flops_ratio` (kept over total), as `accuracy_figure` does; few FLOPs lie right."""
    points = _points(runs, "accuracy").rename(columns={"flops_ratio": "x"})
    points["x"] = points["x"].where(points["x"] > 0)  # zero has no place on a logarithmic axis
    figure, axes = _draw(points, title, looks(runs["pruner"]))
    label_axes(axes, "FLOPs kept (% of dense, log axis, fewer to the right)", ACCURACY)
    low, high = _limits(points["x"].dropna())
    axes.set_xlim(high, low)
    _set_ticks(axes, log_ticks(low, high), 100)
    _cut_below(axes, points)
    return figure


def _points(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a row per method and compression.

    Columns: mean, min, max and n over seeds of `column`, mean `flops_ratio`, any `collapsed`.
    """
    values = runs[column].astype(float)
    rows = runs.assign(
        value=values.where(np.isfinite(values)),
        compression=runs["compression"].astype(float).where(runs["pruner"] != DENSE, 0.0),
        collapsed=runs["collapsed"].astype(bool) if "collapsed" in runs else False,
        flops_ratio=runs["flops_ratio"].astype(float) if "flops_ratio" in runs else math.nan,
    )
    groups = rows.groupby(["pruner", "compression"], sort=True)
    return groups.agg(
        mean=("value", "mean"), low=("value", "min"), high=("value", "max"), n=("value", "count"),
        collapsed=("collapsed", "any"), flops_ratio=("flops_ratio", "mean"),
    ).reset_index()  # fmt: skip


def _draw(
    points: pd.DataFrame, title: str, look: dict[str, Look], style: CurveStyle = CurveStyle()
) -> tuple[Figure, Axes]:
    """Draw lines, bands, markers and the legend below; the axes have no labels yet."""
    figure, (axes,) = make_panels(1, title)
    if style.size:
        figure.set_size_inches(style.size)
    axes.set_xscale("log")
    dense = points[points["pruner"] == DENSE]
    methods = in_order(points["pruner"])
    for method in methods:
        _draw_method(axes, points[points["pruner"] == method], dense, look[method])
    if len(dense):
        axes.axhline(dense["mean"].iloc[0], color=GREY, linewidth=0.9, linestyle=":", zorder=1)
    handles = [look[m].handle(linestyle=":" if m == DENSE else "-") for m in methods]
    labels = [style.names.get(method, method) for method in methods]
    if points["collapsed"].any():
        handles.append(Look(GREY, "o").handle(hollow=True, linestyle=""))
        labels.append("hollow: collapsed")
    if (points["n"] > 1).any():
        handles.append(Patch(facecolor=GREY, alpha=0.3))
        labels.append(band_label(points.loc[points["n"] > 0, "n"]))
    legend_below(figure, handles, labels)
    return figure, axes


def _draw_method(axes: Axes, own: pd.DataFrame, dense: pd.DataFrame, look: Look) -> None:
    """Draw one line from the dense point on, its band, and a marker at each of its own points, hollow if a run collapsed."""
    is_dense = (own["pruner"] == DENSE).all()
    start = dense if not is_dense and own["compression"].min() > 0 else own.iloc[:0]
    line = pd.concat([part for part in (start, own) if len(part)])
    axes.plot(line["x"], line["mean"], color=look.colour, linewidth=1.5, zorder=3)
    if (line["n"] > 1).any():
        axes.fill_between(line["x"], line["low"], line["high"], color=look.colour, alpha=0.16, linewidth=0, zorder=2)
        many = own[own["n"] > 1]  # shows the band at points whose neighbours are missing
        axes.vlines(many["x"], many["low"], many["high"], color=look.colour, linewidth=0.8, alpha=0.6, zorder=2)
    for collapsed, rows in own.groupby("collapsed"):
        axes.plot(rows["x"], rows["mean"], linestyle="", zorder=5 if is_dense else 4, **look.marked(7, collapsed))


def _limits(values: pd.Series) -> tuple[float, float]:
    """Return the ends of a logarithmic axis with a margin around positive values; it spans at least half a decade."""
    low, high = (math.log10(v) for v in (values.min(), values.max())) if len(values) else (-1.0, 0.0)
    missing = max(0.0, 0.5 - (high - low)) / 2
    air = 0.05 * (high - low + 2 * missing)
    return 10 ** (low - missing - air), 10 ** (high + missing + air)


def _set_ticks(axes: Axes, ticks: Sequence[float], factor: float = 1) -> None:
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{factor * tick:.6g}" for tick in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())


def _spread(values: Sequence[float], distance: float) -> list[float]:
    """Return those of ascending `values` that are `distance` apart; they include the last, and the first if possible."""
    shown: list[float] = []
    for value in (values[-1], *values[:-1]):
        if all(abs(value - other) >= distance for other in shown):
            shown.append(value)
    return sorted(shown)
