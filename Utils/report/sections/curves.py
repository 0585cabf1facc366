"""Training curves: losses and accuracy by epoch, a figure for each compression."""

from __future__ import annotations

import pandas as pd

from Pruners import DENSE
from Utils.base.csv_files import read_csv
from Utils.figures.training_curves import curves_figure
from Utils.report.blocks import Figure, Section, slug
from Utils.report.captions import recipe_and_n
from Utils.report.groups import Group
from Utils.report.report_run import Run

COLUMNS = ["epoch", "train_loss", "test_loss", "top1_accuracy"]


def training_curves(groups: list[Group]) -> Section | None:
    """Make the section: the training after pruning, all methods of one compression and the dense network in a figure."""
    section = Section("Training curves")
    for group in groups:
        for compression in sorted({run.compression for run in group.runs}) or [0.0]:
            own = [run for run in group.all if run["pruner"] == DENSE or run.compression == compression]
            tables = [table for run in own if (table := _rows(run)) is not None]
            if tables:
                section.blocks.append(_figure(group, compression, own, pd.concat(tables, ignore_index=True)))
    return section if section.blocks else None


def _figure(group: Group, compression: float, runs: list[Run], curves: pd.DataFrame) -> Figure:
    name = slug("curves", group.label, f"{compression:.6g}")
    at = f" at compression {compression:.6g}" if group.runs else ""
    caption = (
        f"{group.label}{at}: loss and top-1 accuracy by epoch of training after pruning; bands from the smallest to the largest "
        "seed. "
    )
    description = f"Training loss, test loss and accuracy by epoch for {', '.join(dict.fromkeys(curves['pruner']))}{at}."
    return Figure(name, caption + recipe_and_n(group, runs), description, curves_figure(curves, f"{group.label}{at}"))


def _rows(run: Run) -> pd.DataFrame | None:
    """Return the rows of the training after pruning; None if there are none, or their file cannot be read."""
    file = run.file("post-train.csv")
    if file is None or not run.done:
        return None
    try:
        table = read_csv(file)[COLUMNS].astype(float)
    except (ValueError, KeyError, OSError):
        return None
    return table.assign(pruner=str(run["pruner"]), seed=run["seed"])
