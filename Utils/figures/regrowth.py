"""Figures of regrowth: the networks compared, the layers before and after, the search."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from Utils.figures.style import BLUE, GREEN, GREY, ORANGE, PALE_BLUE, VERMILION, label_axes, make_panels, name_ticks

PALETTE = (GREY, ORANGE, VERMILION, GREEN, BLUE)  # of the networks, in the order of `regrow.csv`


def regrow_figure(rows: pd.DataFrame, layers: pd.DataFrame, episodes: pd.DataFrame | None, title: str) -> Figure:
    """Draw test accuracies, densities by layer before and after, SSIM and allocation, and the search.

    The densities are those before the first and after the last step.
    """
    figure, axes = make_panels(3 if episodes is None else 4, title)
    _networks(axes[0], rows)
    first, last = layers[layers["step"] == layers["step"].min()], layers[layers["step"] == layers["step"].max()]
    places = np.arange(len(first))
    axes[1].bar(places - 0.2, first["density_before"], 0.4, color=PALE_BLUE, label="before")
    axes[1].bar(places + 0.2, last["density_after"], 0.4, color=BLUE, label="after")
    axes[1].legend(fontsize=8)
    label_axes(axes[1], "layer", "density", "What the layers kept")
    name_ticks(axes[1], first["layer"])
    axes[2].bar(places, layers.groupby("layer", sort=False)["allocated"].sum(), 0.6, color=GREEN)
    label_axes(axes[2], "layer", "weights", "Regrown weights, and SSIM")
    name_ticks(axes[2], first["layer"])
    if first["ssim"].notna().any():
        twin = axes[2].twinx()
        twin.plot(places, first["ssim"], "o", color=VERMILION, markersize=5)
        twin.set_ylabel("SSIM to the dense network (dots)", fontsize=9, color=VERMILION)
    if episodes is not None:
        _search(axes[3], episodes)
    return figure


def layers_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw the improvement against SSIM, and by layer in order of SSIM.

    Panels against SSIM: after fine-tuning, before it, and with the capacity as the size of the points.
    """
    figure, axes = make_panels(4, title)
    known = table[table["ssim"].notna()]
    for ax, column, word in ((axes[0], "final_improvement", "fine-tuned, against the control"),
                             (axes[1], "immediate_improvement", "at once, against the start")):  # fmt: skip
        equal = known["equal"]
        ax.plot(known["ssim"][equal], known[column][equal], "o", color=BLUE, label="whole budget")
        ax.plot(known["ssim"][~equal], known[column][~equal], "s", color=ORANGE, label="less: layer is full")
        if equal.sum() > 1 and known["ssim"][equal].nunique() > 1:
            slope, offset = np.polyfit(known["ssim"][equal], known[column][equal], 1)
            ends = np.array([known["ssim"][equal].min(), known["ssim"][equal].max()])
            ax.plot(ends, slope * ends + offset, "--", color=GREY, label="least squares")
        ax.axhline(0, color=GREY, linewidth=0.8)
        ax.legend(fontsize=7)
        label_axes(ax, "SSIM", "points of top-1", f"Improvement, {word}")
    order = table.sort_values("ssim", na_position="last")
    axes[2].bar(np.arange(len(order)), order["final_improvement"], 0.6, color=np.where(order["equal"], BLUE, ORANGE))
    axes[2].axhline(0, color=GREY, linewidth=0.8)
    label_axes(axes[2], "layer, by rising SSIM", "points of top-1", "Improvement by layer")
    name_ticks(axes[2], order["layer"])
    sizes = 20 + 280 * known["capacity"] / max(known["capacity"].max(), 1)
    axes[3].scatter(known["ssim"], known["final_improvement"], s=sizes, color=GREEN, alpha=0.6)
    label_axes(axes[3], "SSIM", "points of top-1", "Area: capacity")
    return figure


def _networks(axes, rows: pd.DataFrame) -> None:
    names = [name.replace(" ", "\n") for name in rows["network"]]
    colours = [BLUE if name == "regrown" else other for name, other in zip(rows["network"], PALETTE, strict=False)]
    bars = axes.bar(names, rows["test_top1"], 0.6, color=colours)
    axes.bar_label(bars, fmt="%.2f", fontsize=8)
    low, high = rows["test_top1"].min(), rows["test_top1"].max()
    space = max((high - low) * 0.3, 0.5)
    axes.set_ylim(max(low - space, 0), high + space)
    label_axes(axes, "", "test top-1 (%)", "Networks (axis is cut)")
    axes.tick_params(axis="x", labelsize=8)


def _search(axes, episodes: pd.DataFrame) -> None:
    for step, part in episodes.groupby("step"):
        axes.plot(part["episode"], 100 * part["reward"], ".", color=GREY, markersize=3)
        axes.plot(part["episode"], 100 * part["baseline"], "-", color=BLUE, label="moving baseline" if step == 1 else None)
        axes.plot(part["episode"], 100 * part["best"], "-", color=VERMILION, label="best" if step == 1 else None)
    axes.legend(fontsize=8)
    label_axes(axes, "episode", "validation top-1 (%)", "Search")


def bench_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw the seconds of each method: by phase, before fine-tuning, of the selection alone, and in total."""
    figure, axes = make_panels(4, title)
    methods = list(dict.fromkeys(table["method"]))
    means = table.pivot_table(index="phase", columns="method", values="mean", sort=False)
    spread = table.pivot_table(index="phase", columns="method", values="std", sort=False, dropna=False)
    colours = (ORANGE, BLUE, GREEN, GREY)
    phases = [p for p in means.index if p != "total"]
    below = np.zeros(len(methods))
    for phase, colour in zip(phases, colours, strict=False):
        axes[0].bar(methods, means.loc[phase, methods].fillna(0), 0.5, bottom=below, color=colour, label=phase)
        below += means.loc[phase, methods].fillna(0).to_numpy()
    axes[0].legend(fontsize=8)
    label_axes(axes[0], "", "seconds", "All phases")
    for ax, phase in ((axes[1], "preprocessing"), (axes[2], "selection"), (axes[3], "total")):
        errors = spread.loc[phase, methods].fillna(0) if phase in spread.index else None
        bars = ax.bar(methods, means.loc[phase, methods], 0.5, yerr=errors, color=[ORANGE, BLUE], capsize=4)
        ax.bar_label(bars, fmt="%.4g s", fontsize=8)
        label_axes(ax, "", "seconds", phase.capitalize())
    return figure
