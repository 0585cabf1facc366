"""Texts and blocks that several sections share: settings and n, sentences, curves, and the compression shown."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from Utils.figures.accuracy import compression_figure
from Utils.report.blocks import Block, Figure, Sentences
from Utils.report.groups import Group
from Utils.report.report_run import Run


def described(group: Group, trained: bool = True) -> str:
    """Return settings and n, the end of a caption."""
    done = group.table[group.table["status"] == "done"]
    spread = "mean ± standard deviation over seeds" if done.duplicated(["pruner", "compression"]).any() else "one seed"
    recipe = f"{group.recipe}; " if trained and group.recipe else ""
    text = f"{recipe}{spread}, {group.n()}."
    return text[0].upper() + text[1:]


def recipe_and_n(group: Group, runs: Sequence[Run]) -> str:
    """Return the recipe of the training and the number of seeds of `runs`, the end of a caption."""
    recipe = f"{group.recipe[0].upper()}{group.recipe[1:]}; " if group.recipe else ""
    return f"{recipe}{group.n(runs)}."


def sentences(lines: list[str]) -> list[Block]:
    """Return a block of generated sentences, if there are any."""
    return [Sentences(lines)] if lines else []


def compression_curves(group: Group, column: str, name: str, label: str, log: bool = False) -> list[Block]:
    """Return the table as curves, if there is more than one compression."""
    runs = group.table.assign(**{column: pd.to_numeric(group.table[column])}).dropna(subset=[column])
    if runs["compression"].nunique() < 2 or not group.methods:
        return []
    drawing = compression_figure(runs, column, group.label, label, log)
    caption = f"{group.label}: {label} against compression. {described(group, False)}"
    description = f"A line for each of {', '.join(group.methods)}: {label} against compression; the table above has the numbers."
    return [Figure(name, caption, description, drawing)]


def shown_compression(group: Group, asked: float | None) -> float | None:
    """Choose the compression whose layers are shown: the one asked for if the group has it, else the middle one, if any."""
    found = sorted({run.compression for run in group.runs if run.done})
    near = [c for c in found if asked is not None and abs(c - asked) < 1e-6]
    return near[0] if near else found[(len(found) - 1) // 2] if found else None
