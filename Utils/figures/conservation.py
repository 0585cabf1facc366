"""The figures of the studies of conservation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from Utils.figures.style import COLOURS, GREY, LATE, MARKERS, label_axes, looks, make_panels
from Utils.measure.score_balance import fit, relative_difference


def _size_axes(axes: Axes, sizes: pd.Series, averages: pd.Series, y: str, title: str = "") -> None:
    """Set logarithmic axes for averages over layers of `sizes`; the inverse sizes stand at the top."""
    positive = averages[(averages > 0) & np.isfinite(averages)]
    _log_log(axes)
    axes.set_xlim(_limits(sizes, 1.6))
    if len(positive):
        axes.set_ylim(_limits(positive, 2.5))
    top = axes.secondary_xaxis("top", functions=(_inverse, _inverse))
    top.set_xlabel("inverse size 1/N", fontsize=9)
    top.tick_params(labelsize=8)
    top.xaxis.set_minor_formatter(NullFormatter())
    label_axes(axes, "layer size N (elements)", y, title)


def _log_log(axes: Axes) -> None:
    """Set logarithmic axes with labels only at powers of ten, as others would collide."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())


def _limits(values: pd.Series, margin: float) -> tuple[float, float]:
    """Return the ends of a logarithmic axis around positive values: `margin` times the extremes, at least two decades."""
    low, high = math.log10(values.min() / margin), math.log10(values.max() * margin)
    missing = max(0.0, 2.0 - (high - low)) / 2
    return 10 ** (low - missing), 10 ** (high + missing)


def _inverse(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return 1.0 / np.asarray(values, dtype=float)


def _draw_fit(axes: Axes, table: pd.DataFrame, colour: object, label: str) -> None:
    """Draw the fitted line over the range of sizes, with its slope after `label` in the legend."""
    slope, intercept = fit(table)
    if math.isfinite(slope):
        ends = np.array([table["size"].min(), table["size"].max()], dtype=float)
        line = 10 ** (slope * np.log10(ends) + intercept)
        axes.plot(ends, line, color=colour, linewidth=1.2, zorder=2, label=f"{label}slope {slope:.2f}".replace("-", "\u2212"))


def _draw_equal_totals(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the line of slope -1 on which all layers would have the same total, through the middle of the points."""
    rows = table[(table["average_score"] > 0) & np.isfinite(table["average_score"])]
    if len(rows):
        total = np.exp(np.log(rows["average_score"] * rows["size"]).mean())
        ends = np.array(axes.get_xlim())
        axes.plot(ends, total / ends, color=GREY, linewidth=1, linestyle="--", zorder=1, label="equal totals: slope \u22121")


def layer_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw a panel per pruner: average score of each layer against its size, with the fitted line."""
    pruners = list(table["pruner"].unique())
    figure, panels = make_panels(len(pruners), title)
    for axes, pruner in zip(panels, pruners, strict=True):
        rows, look = table[table["pruner"] == pruner], looks(pruners)[pruner]
        _size_axes(axes, rows["size"], rows["average_score"], "average score |sum / N|", pruner)
        _draw_equal_totals(axes, rows)
        _draw_fit(axes, rows, look.colour, "fit: ")
        axes.plot(rows["size"], rows["average_score"].where(rows["average_score"] > 0), linestyle="", marker=look.marker,
                  markersize=7, color=look.colour, markeredgecolor="white", markeredgewidth=0.6)  # fmt: skip
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=9, loc="best", frameon=False)
    return figure


def unit_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw a panel per pruner: the score that leaves each hidden unit against the one that enters it, coloured by depth."""
    pruners = list(table["pruner"].unique())
    figure, panels = make_panels(len(pruners), title)
    figure.set_layout_engine("compressed")
    depths = {name: depth for depth, name in enumerate(table["layer_in"].unique(), start=1)}
    steps = BoundaryNorm(np.arange(0.5, len(depths) + 1), LATE.N) if len(depths) > 1 else Normalize(0, 1)
    for axes, pruner in zip(panels, pruners, strict=True):
        rows = table[table["pruner"] == pruner].sample(frac=1, random_state=0)  # in random order, so that no layer hides another
        values = rows[["in_score", "out_score"]].abs()
        shown = ((values > 0) & np.isfinite(values)).all(axis=1)
        _log_log(axes)
        label_axes(axes, "|sum of the scores that enter|", "|sum of the scores that leave|")
        hidden = f"\n{(~shown).sum()} of {len(rows)} units at zero are not shown" if (~shown).any() else ""
        axes.set_title(f"largest relative difference {relative_difference(rows).max():.2g}{hidden}", fontsize=8)
        axes.text(0.03, 0.96, pruner, transform=axes.transAxes, fontsize=11, fontweight="bold", va="top")
        if shown.any():
            ends = _decades(values[shown].to_numpy())
            axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", label="equal", zorder=1)
            axes.set(xlim=ends, ylim=ends, aspect="equal")
            axes.scatter(values["in_score"][shown], values["out_score"][shown], c=rows["layer_in"][shown].map(depths), cmap=LATE,
                         norm=steps, s=16, linewidths=0.3, edgecolors="white")  # fmt: skip
            axes.legend(fontsize=8, loc="lower right", frameon=False)
    if len(depths) > 1:
        ticks = sorted({int(t) for t in np.linspace(1, len(depths), min(len(depths), 8))})
        bar = figure.colorbar(ScalarMappable(steps, LATE), ax=panels, ticks=ticks, shrink=0.8, pad=0.02)
        bar.set_label("hidden layer, from the input", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return figure


def _decades(values: np.ndarray) -> tuple[float, float]:
    """Return the powers of ten around positive values."""
    low, high = math.floor(math.log10(values.min())), math.ceil(math.log10(values.max()))
    return 10.0**low, 10.0 ** max(high, low + 1)


def training_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw the average squared weight of each layer against its size, a colour per epoch.

    Lines are fitted for the first and the last epoch.
    """
    figure, (axes,) = make_panels(1, title)
    epochs = sorted(table["epoch"].unique())
    scale = Normalize(0, max(epochs[-1], 1))
    _size_axes(axes, table["size"], table["average_score"], "average squared weight")
    for epoch in epochs:
        rows = table[table["epoch"] == epoch]
        colour = LATE(scale(epoch))
        if epoch in (epochs[0], epochs[-1]):
            _draw_fit(axes, rows, colour, f"epoch {epoch}: ")
        if epoch == epochs[-1]:
            _draw_equal_totals(axes, rows)
        axes.plot(rows["size"], rows["average_score"].where(rows["average_score"] > 0), linestyle="", marker="o", markersize=6,
                  color=colour, markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=9, loc="best", frameon=False)
    if len(epochs) > 1:
        bar = figure.colorbar(ScalarMappable(scale, LATE), ax=axes, pad=0.02, ticks=MaxNLocator(integer=True))
        bar.set_label("epoch", fontsize=9)
        bar.ax.tick_params(labelsize=8)
    return figure


def schedule_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw a panel per schedule: the largest ratio over the rounds against their number, a line per compression."""
    schedules: Sequence[str] = list(table["schedule"].unique())
    figure, panels = make_panels(len(schedules), title, sharex=True, sharey=True)
    collapsed = bool(table["collapsed"].any())
    for axes, schedule in zip(panels, schedules, strict=True):
        own = table[table["schedule"] == schedule]
        axes.axhline(1.0, color=GREY, linewidth=1, linestyle="--", zorder=1)
        for index, (compression, rows) in enumerate(own.groupby("compression")):
            rows = rows.sort_values("prune_epochs")
            colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
            axes.plot(rows["prune_epochs"], rows["max_ratio"], color=colour, marker=marker, markersize=6, linewidth=1.2,
                      label=f"{compression:g}")  # fmt: skip
            gone = rows[rows["collapsed"]]
            axes.plot(gone["prune_epochs"], gone["max_ratio"], linestyle="", marker="o", markersize=13, color=colour,
                      fillstyle="none")  # fmt: skip
        _log_log(axes)
        label_axes(axes, "rounds of pruning", "", schedule)
    panels[0].set_ylabel("largest score removed in a round / R", fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color=GREY, linewidth=1, linestyle="--"))
    labels.append("a whole layer (R)")
    if collapsed:
        handles.append(Line2D([], [], linestyle="", marker="o", markersize=13, color=GREY, fillstyle="none"))
        labels.append("collapsed")
    figure.legend(handles, labels, title="compression", fontsize=9, title_fontsize=9, frameon=False, loc="outside right center")
    return figure
