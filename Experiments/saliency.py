"""Saliency: find the layers and weights of saved runs that each class depends on, and how evenly classes share them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from Utils.base.errors import Refused
from Utils.base.seeds import derive
from Utils.base.text import shown
from Utils.options.types import Options
from Utils.runs.later_measurements import Annex
from Utils.runs.reopen import reopen
from Utils.runs.saved import heading, on_saved_networks
from Utils.studies.class_saliency import ORDERS, class_table, layer_table, measure

EXPERIMENT = {
    "summary": "which layers and weights of saved runs each class hangs on: --run FOLDER ...",
    "reads": ("run", "network", "saliency", "device", "verbose", "data"),
    "writes": ("saliency.{csv,json}", "saliency-classes.csv", "saliency-first.{png,pdf}", "saliency-second.{png,pdf}"),
    "into_runs": True,
    "kind": "saved runs",
}

NAME = "saliency"


def run(options: Options) -> None:
    """Print a table by layer of each `--run FOLDER`, and write tables and figures there.

    A grid's folder stands for its cells. The images are training images, not augmented. All other files in the folders stay
    unchanged, so that they remain finished runs.

    Raises:
        Refused: no folder holds a saved network, or none of those that do can be read; no file was written.
        RunFailed: some run cannot be read; the others are analysed.
    """
    on_saved_networks(options.run, lambda folder: _analyse(folder, options))


def _analyse(folder: Path, options: Options) -> None:
    from Utils.figures.saliency import saliency_figure

    annex = Annex(folder, NAME)
    opened = reopen(folder, options)
    layers = {p.module_name: p for p in opened.prunables if p.param == "weight" and isinstance(p.module, nn.Conv2d | nn.Linear)}
    if not any(bool(p.mask.any()) for p in layers.values()):
        raise Refused(f"{folder}: no weight is kept")
    torch.manual_seed(derive(opened.options.seed, NAME))
    found = measure(opened.model, layers, opened.data, options.saliency_images, options.saliency_batch_size)
    classes, table = class_table(found), layer_table(found, options.saliency_percentile)
    print(shown(folder))
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4g}", na_rep=""))
    for order in ORDERS:
        own = table[table["order"] == order]
        worst = own.loc[own["unfairness"].idxmax()]
        print(f"{order} order: the classes differ most in {worst['layer']} (deviation over mean {worst['unfairness']:.3f})")
    with annex:
        annex.write_table(f"{NAME}.csv", table)
        annex.write_table(f"{NAME}-classes.csv", classes)
        for order in ORDERS:
            title = f"Saliency, {order} order: {heading(folder)}"
            figure = saliency_figure(found.maps[order], found.columns, table, classes, order, title)
            annex.write_figure(f"{NAME}-{order}", figure)
        annex.finish({name: value for name, value in options.record().items() if name.startswith(f"{NAME}_")})
    print(f"Figures: {', '.join(shown(folder / f'{NAME}-{order}.png') for order in ORDERS)}")
