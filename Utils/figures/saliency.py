"""Figures of saliency: layers, classes, and both at once."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from Utils.figures.style import BLUE, COLOURS, VIRIDIS, label_axes, make_panels, name_ticks


def saliency_figure(
    maps: Mapping[int, torch.Tensor],
    columns: Mapping[str, int],
    layers: pd.DataFrame,
    classes: pd.DataFrame,
    order: str,
    title: str,
) -> Figure:
    """Draw the mean by layer with deviations, the mean by class, and heat maps of class by layer and of class by weight.

    `maps` has the row [columns] of each class in the last heat map; `columns` tells how many of them each layer has.
    """
    figure, axes = make_panels(4, title)
    layers, classes = layers[layers["order"] == order], classes[classes["order"] == order]
    places = np.arange(len(layers))
    positive = bool((layers["mean"] > 0).any())
    low = np.minimum(layers["std"], layers["mean"] * 0.9)  # an error bar below zero has no place on a logarithmic axis
    axes[0].errorbar(places, layers["mean"], [low, layers["std"]], fmt="o", color=BLUE, capsize=3, markersize=4)
    axes[0].set_yscale("log" if positive else "linear")
    label_axes(axes[0], "layer", "saliency", "Mean and deviation by layer")
    name_ticks(axes[0], layers["layer"])
    axes[0].grid(False, axis="x")
    grid = classes.pivot_table(index="class", columns="layer", values="mean", sort=False)
    for i, name in enumerate(grid.columns):
        axes[1].plot(grid.index, grid[name], "o-", color=COLOURS[i % len(COLOURS)], markersize=3, linewidth=1, label=name)
    axes[1].set_yscale("log" if positive else "linear")
    if len(grid.columns) <= len(COLOURS):
        axes[1].legend(title="layer", title_fontsize=7, fontsize=7)
    label_axes(axes[1], "class", "mean saliency", "By class")
    shown = grid / grid.max()
    axes[2].imshow(shown, aspect="auto", cmap=VIRIDIS, vmin=0, vmax=1, interpolation="nearest")
    label_axes(axes[2], "layer", "class", "Of each layer's largest")
    axes[2].set_yticks(np.arange(len(grid)), grid.index, fontsize=7)
    name_ticks(axes[2], pd.Series(grid.columns))
    axes[2].grid(False)
    _weights(axes[3], maps, columns)
    return figure


def _weights(axes: Axes, maps: Mapping[int, torch.Tensor], columns: Mapping[str, int]) -> None:
    """Draw class against weight, neighbours averaged, each layer stretched to [0, 1], with lines between layers."""
    labels = list(maps)
    rows = np.stack([maps[label].numpy() for label in labels])
    ends = list(accumulate(columns.values()))
    for begin, end in zip([0, *ends], ends, strict=False):
        part = rows[:, begin:end]
        span = part.max() - part.min()
        rows[:, begin:end] = (part - part.min()) / span if span else 0.0
    axes.imshow(rows, aspect="auto", cmap=VIRIDIS, interpolation="nearest")
    for end in ends[:-1]:
        axes.axvline(end - 0.5, color="white", linewidth=1)
    axes.set_yticks(np.arange(len(labels)), labels, fontsize=7)
    label_axes(axes, "kept weights, layer after layer (averaged)", "class", "By class and weight")
    axes.grid(False)
