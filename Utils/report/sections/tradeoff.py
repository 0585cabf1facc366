"""The section on accuracy against compression and against FLOPs, with the numbers of the figures as table and JSON."""

from __future__ import annotations

from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.figures.accuracy import accuracy_figure, flops_accuracy_figure
from Utils.report.blocks import Block, Data, Figure, Section, Table, slug
from Utils.report.captions import described, rounds_in
from Utils.report.groups import Group
from Utils.report.pivot import as_declared, percent
from Utils.runs.summary_keys import report_columns


def tradeoff(groups: list[Group]) -> Section | None:
    """Make the section: figures of last-epoch accuracy, and the accuracies of the best epochs."""
    section = Section("Accuracy against compression")
    for group in (g for g in groups if g.methods and g.trained):
        section.blocks += _of(group)
    return section if section.blocks else None


def _of(group: Group) -> list[Block]:
    runs = group.table.astype({"accuracy": float, "flops_ratio": float})
    runs = runs[runs["accuracy"].notna()]
    name, methods = slug("accuracy-compression", group.label), ", ".join(group.methods)
    caption = (
        f"{group.label}: last-epoch top-1 accuracy against the compression ratio (total over kept weights), means with bands "
        f"from the smallest to the largest seed. {described(group)}"
    )
    description = f"Accuracy against compression ratio, a line for each of {methods}; the table of accuracies has the numbers."
    cost = "last-epoch top-1 accuracy against the FLOPs that stay, as a share of the dense network's"
    flops = f"{group.label}: {cost}. {described(group)}"
    return [
        Figure(name, caption, description, accuracy_figure(runs, group.label)),
        *([_summary(group, runs)] if runs["top1_best"].notna().any() else []),
        Data(name,
             f"{group.label}: best and last accuracies of every seed, by method and compression ratio. {described(group, False)}",
             _json(runs)),
        Figure(slug("accuracy-flops", group.label), flops,
               f"Accuracy against FLOPs kept, a line for each of {methods}.", flops_accuracy_figure(runs, group.label)),
    ]  # fmt: skip


def _summary(group: Group, runs: pd.DataFrame) -> Table:
    """Return a row per compression ratio, with the mean of the best epochs for each method."""
    rows, text = [], as_declared("top1_best")
    for compression in sorted(runs["compression"].unique()):
        row = {"ratio": f"{10**compression:.4g}", "alpha": f"{compression:.4g}", "sparsity": percent(1 - 10.0**-compression)}
        for method in group.methods:
            meant = (method, DENSE) if compression == 0 else (method,)
            own = runs[(runs["compression"] == compression) & runs["pruner"].isin(meant)]
            row[method] = text(own["top1_best"].astype(float).mean(), 0.0, 1) if len(own) else "not run"
        rows.append(row)
    label = report_columns()["top1_best"][1].label
    rounds = f"; {found}" if (found := rounds_in(run for run in group.runs if run.done)) else ""
    caption = f"{group.label}: {label}, mean over seeds{rounds}, {group.n()}. {_choice(group)}"
    return Table(slug("best-epoch", group.label), caption, pd.DataFrame(rows), words=3)


def _choice(group: Group) -> str:
    """Say on which images the best epochs were chosen."""
    held_out = {bool(run["val_fraction"]) for run in group.all}
    if held_out == {True}:
        return "The best epoch is chosen on images that were held out of the training set."
    flatter = "The best epoch is chosen on the test set itself, so that these numbers flatter; the last epoch is the result."
    return flatter if held_out == {False} else f"{flatter} In runs with --val-fraction it is chosen on images held out."


def _json(runs: pd.DataFrame) -> dict[str, Any]:
    """Return method -> compression ratio -> its accuracies, one for each seed; ratio 1 is the dense network."""
    found: dict[str, Any] = {}
    for (method, compression), own in runs.groupby(["pruner", "compression"], sort=False):
        rho = 10.0**compression
        found.setdefault(method, {})[f"{rho:.6g}"] = {
            "rho": rho,
            "alpha": compression,
            "sparsity": 1 - 1 / rho,
            "seeds": own["seed"].tolist(),
            "best_accs": own["top1_best"].astype(float).tolist(),
            "final_accs": own["accuracy"].tolist(),
        }
    return found
