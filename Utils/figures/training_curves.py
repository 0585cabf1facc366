"""Training curves: losses and accuracy over the epochs, a line per method."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from Utils.figures.scales import main_range, name_beyond, set_log_ticks
from Utils.figures.style import GREY, Look, band_label, in_order, label_axes, legend_below, looks, wrapped

PANELS = {"train_loss": "train loss", "test_loss": "test loss", "top1_accuracy": "top-1 (%)"}
SIZE = (5.6, 6.6)  # inches: panels below each other fit a phone or a column
MARKS = 8  # markers along a line of many epochs
WIDE = 10  # times the smallest loss; with a larger range the axis is logarithmic


def curves_figure(curves: pd.DataFrame, title: str) -> Figure:
    """Draw panels of train loss, test loss and top-1 accuracy: the mean of each method, and a band over its seeds.

    Args:
        curves: `pruner, seed, epoch, train_loss, test_loss, top1_accuracy`; epoch 0 is before training and has no train loss.
        title: the title of the figure.
    """
    figure = Figure(SIZE, layout="constrained")
    figure.suptitle(wrapped(title, SIZE[0], 11), fontsize=11, parse_math=False)
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    present, look = in_order(curves["pruner"]), looks(curves["pruner"])
    for axes, (column, name) in zip(panels, PANELS.items(), strict=True):
        values = curves.assign(value=curves[column].astype(float).where(np.isfinite(curves[column].astype(float))))
        for index, method in enumerate(present):
            rows = values[values["pruner"] == method].groupby("epoch")["value"].agg(["mean", "min", "max", "count"])
            _draw(axes, rows[rows["count"] > 0], look[method], index / len(present))
        label_axes(axes, "", name)
        axes.margins(x=0.02)
        if "loss" in column:
            _set_scale(axes, values.set_index(["pruner", "epoch"])["value"].dropna())
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1, steps=(1, 2, 5, 10)))
    panels[-1].set_xlabel("epoch", fontsize=10)
    figure.align_ylabels(panels)
    handles, labels = [look[m].handle() for m in present], list(present)
    seeds = curves.groupby("pruner")["seed"].nunique()
    if (seeds > 1).any():
        handles.append(Patch(facecolor=GREY, alpha=0.3))
        labels.append(band_label(seeds))
    if handles:
        legend_below(figure, handles, labels)
    return figure


def _set_scale(axes: Axes, losses: pd.Series) -> None:
    """Use a logarithmic axis for a large range of losses, which have the index method and epoch.

    A few losses far above all others, as of a network before its training, lie beyond the axis, and are named there.
    """
    positive = losses[losses > 0]
    cut = main_range(np.log10(positive))
    low, high = losses.min(), losses.max()
    if cut and 10 ** cut[1] < 0.99 * high:
        high = 10 ** cut[1]
    if 0 < WIDE * low < high:
        axes.set_yscale("log")
    if high < losses.max():
        air = 0.06 * (high - low)
        axes.set_ylim(*((low / 1.2, high * 1.2) if axes.get_yscale() == "log" else (low - air, high + air)))
        highest = losses.groupby(level=[0, 1], sort=False).max()
        name_beyond(axes, [(f"{method}, epoch {epoch:g}", value) for (method, epoch), value in highest.items()])
    if axes.get_yscale() == "log":
        axes.set_ylabel(f"{axes.get_ylabel()} (log axis)", fontsize=10)
        axes.set_ylim(*axes.get_ylim())
        set_log_ticks(axes.yaxis, *axes.get_ylim())


def _draw(axes: Axes, rows: pd.DataFrame, look: Look, shift: float) -> None:
    """Draw a line with a few markers and its band; `shift` moves the markers by a share of their distance.

    Markers of different lines thus stay apart.
    """
    step = max(1, round(len(rows) / MARKS))
    axes.plot(rows.index, rows["mean"], linewidth=1.4, zorder=3, markevery=(int(shift * step), step), **look.marked(5.5))
    if (rows["count"] > 1).any():
        axes.fill_between(rows.index, rows["min"], rows["max"], color=look.colour, alpha=0.16, linewidth=0, zorder=2)
