"""Figures of layers by methods: densities as a heat map, costs as dots. Rows are layers in the order of the network."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from Pruners import DENSE
from Utils.figures.scales import log_text, log_ticks, set_log_ticks
from Utils.figures.style import BLACK, FAINT, GREY, LIGHT, VERMILION, VIRIDIS, Look, in_order, legend_below, looks, wrapped

LOWEST = 1e-4  # the lowest end of the colour scale; lower densities have the same colour
PRINTED = 40  # the most rows with room for a number in each cell
FEW = 3  # powers of ten on an axis, below which other numbers are labelled too
LETTERS = 42  # shown of a layer's name: its end, which distinguishes it from its neighbours
EMPTY = VERMILION


def density_heatmap(table: pd.DataFrame, title: str) -> Figure:
    """Draw densities in [0, 1] of layers (index) by methods (columns) as a heat map on a logarithmic scale.

    NaN was not run; 0 is an empty layer.
    """
    names, methods = _names(table), in_order(table.columns)
    values = table[methods].to_numpy(dtype=float)
    rows, columns = values.shape
    turned = max(len(m) for m in methods) > 9
    row, column = (0.22 if rows <= PRINTED else 0.17), 0.62
    body = max(row * rows, 1.4)  # inches; the colour bar and its label need some
    letters = max(len(name) for name in names)
    left, width = 0.068 * letters + 0.2, max(column * columns, 1.2)
    figure = Figure((max(left + width + 1.0, 3.6), body + 1.1), layout="constrained")
    figure.suptitle(wrapped(title, figure.get_figwidth(), 10), fontsize=10, parse_math=False)
    axes = figure.subplots()
    lowest = _lowest(values)
    scale = LogNorm(lowest, 1)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    for i, j in np.ndindex(rows, columns):
        _draw_cell(axes, (j, i), values[i, j], scale, rows <= PRINTED)
    axes.set_yticks(np.arange(rows) + 0.5, names, fontsize=8 if rows <= PRINTED else 7, parse_math=False)
    axes.set_xticks(np.arange(columns) + 0.5, methods, fontsize=9, parse_math=False, rotation=40 if turned else 0,
                    ha="left" if turned else "center", rotation_mode="anchor" if turned else "default")  # fmt: skip
    axes.tick_params(top=False, bottom=False, left=False, labeltop=True, labelbottom=False, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)
    below = (values[values > 0] < lowest).any()
    bar = figure.colorbar(ScalarMappable(scale, VIRIDIS), ax=axes, extend="min" if below else "neither", aspect=24,
                          shrink=min(1.0, 4.0 / body), fraction=0.08, pad=0.03)  # fmt: skip
    bar.set_label("density (log scale)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    set_log_ticks(bar.ax.yaxis, lowest, 1)
    empty = Patch(facecolor=EMPTY, hatch=None if rows <= PRINTED else "xxxx", edgecolor="white")
    marks = {"0: nothing kept": empty} if (values == 0).any() else {}
    marks |= {"not run": Patch(facecolor=FAINT, hatch="////", edgecolor=GREY, linewidth=0)} if np.isnan(values).any() else {}
    if marks:
        legend_below(figure, list(marks.values()), list(marks))
    return figure


def _lowest(values: np.ndarray) -> float:
    """Return the power of ten at the end of the colour scale: the next one below all densities, from `LOWEST` to 0.1."""
    positive = values[values > 0]
    return 10.0 ** math.floor(math.log10(min(max(float(positive.min()), LOWEST), 0.99))) if len(positive) else 0.1


def _draw_cell(axes: Axes, corner: tuple[int, int], value: float, scale: LogNorm, printed: bool) -> None:
    """Draw a cell of one row and one column, with its number if `printed`; empty and missing layers are always marked."""
    x, y = corner
    style = {"edgecolor": "white", "linewidth": 0.6}
    if math.isnan(value):
        axes.add_patch(Rectangle((x, y), 1, 1, facecolor=FAINT, hatch="////", edgecolor=GREY, linewidth=0))
        return
    colour = EMPTY if value == 0 else VIRIDIS(scale(max(value, scale.vmin)))
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, hatch="xxxx" if value == 0 and not printed else None, **style))
    if printed:
        dark = value == 0 or scale(max(value, scale.vmin)) < 0.62
        axes.text(x + 0.5, y + 0.52, density_text(value), fontsize=7.5, ha="center", va="center", parse_math=False,
                  color="white" if dark else "black", fontweight="bold" if value == 0 else "normal")  # fmt: skip


def density_text(value: float) -> str:
    """Format a density with up to three digits: 0.316, 0.0042, 3e-05; only 1 and 0 themselves read as such."""
    if 0.9995 <= value < 1:
        return "<1"
    return f"{value:.2g}" if value < 0.01 else f"{value:.3g}"


def layer_bars(table: pd.DataFrame, title: str, ylabel: str) -> Figure:
    """Draw a row per layer: the kept numbers of each method (columns) as dots, the dense layer as a bar.

    The axis is logarithmic; layers that keep no weight stand at its left end, hollow. `ylabel` names the value.
    """
    present, look = in_order(table.columns), looks(table.columns)
    names, rows = _names(table), len(table)
    row = 0.28 if rows <= 24 else 0.18
    figure = Figure((max(5.6, 0.068 * max(len(n) for n in names) + 4.2), row * rows + 1.2), layout="constrained")
    figure.suptitle(wrapped(title, figure.get_figwidth(), 11), fontsize=11, parse_math=False)
    axes = figure.subplots()
    values = table[present].astype(float)
    positive = values.to_numpy()[values.to_numpy() > 0]
    low, high = (positive.min(), positive.max()) if len(positive) else (1.0, 10.0)
    has_zero = bool((values == 0).any(axis=None))
    first = 10.0 ** math.floor(math.log10(low))  # the first tick; `zero` stands left of it
    span = max(high, 10 * first) / first
    zero, edge = first / span**0.1, first / span ** (0.15 if has_zero else 0.04)
    axes.set_xscale("log")
    axes.set(xlim=(edge, high * span**0.05), ylim=(rows - 0.4, -0.6))
    places = np.arange(rows)
    if DENSE in present:
        axes.barh(places, values[DENSE] - edge, left=edge, height=0.82, color=LIGHT, zorder=1)
        axes.plot(values[DENSE], places, linestyle="", marker="|", markersize=50 * row, color=BLACK, zorder=3)
    others = [m for m in present if m != DENSE]
    for index, method in enumerate(others):
        places_of = places + (0.5 * ((index + 0.5) / len(others) - 0.5) if len(others) > 1 else 0)
        _draw_dots(axes, values[method].to_numpy(), places_of, look[method], zero)
    _label(axes, names, ylabel, _decades(first, high), zero if has_zero else None)
    handles = [Patch(facecolor=LIGHT)] * (DENSE in present) + [look[m].handle(linestyle="") for m in others]
    labels = present
    if has_zero:
        handles.append(Line2D([], [], linestyle="", marker="o", color=GREY, markerfacecolor="white"))
        labels = [*labels, "hollow: nothing kept"]
    legend_below(figure, handles, labels)
    return figure


def _draw_dots(axes: Axes, values: np.ndarray, places: np.ndarray, look: Look, zero: float) -> None:
    for empty in (False, True):
        chosen = (values == 0) if empty else (values > 0)
        shown = np.where(values > 0, values, zero)[chosen]
        axes.plot(shown, places[chosen], linestyle="", zorder=4, **look.marked(5.5, empty))


def _decades(first: float, high: float) -> dict[float, str]:
    """Return places and texts of ticks from `first`, a power of ten, to `high`: powers of ten, or round numbers if few."""
    powers = range(round(math.log10(first)), math.floor(math.log10(high)) + 1)
    if len(powers) < FEW:
        return {tick: log_text(tick) for tick in log_ticks(first, high)}
    return {10.0**power: f"$10^{{{power}}}$" for power in powers[:: math.ceil(len(powers) / 8)]}


def _label(axes: Axes, names: Sequence[str], xlabel: str, ticks: dict[float, str], zero: float | None) -> None:
    """Set names, the label, ticks and, if a layer is empty, a tick for zero at the place `zero`."""
    ticks = ({} if zero is None else {zero: "0"}) | ticks
    axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
    axes.xaxis.set_major_formatter(FixedFormatter(list(ticks.values())))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(np.arange(len(names)), names, fontsize=8 if len(names) <= 24 else 7, parse_math=False)
    axes.set_xlabel(f"{xlabel} (log axis)", fontsize=10)
    axes.tick_params(axis="x", labelsize=9, labeltop=len(names) > 24)
    axes.tick_params(axis="y", left=False)
    axes.grid(True, axis="x", color=LIGHT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _names(table: pd.DataFrame) -> list[str]:
    """Return the names of the rows, with long ones shortened.

    A long name loses its beginning, up to a dot if there is one, unless two names would become the same.
    """
    whole = [str(name) for name in table.index]
    short = []
    for name in whole:
        end = name[3 - LETTERS :]
        short.append(name if len(name) <= LETTERS else f"...{end.partition('.')[2] or end}")
    return short if len(set(short)) == len(set(whole)) else whole
