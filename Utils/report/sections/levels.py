"""Levels: density and accuracy after each level of multishot."""

from __future__ import annotations

from Utils.base.csv_files import read_named
from Utils.report.best_epochs import levels_with_trained_best
from Utils.report.blocks import Block, Section, Table, slug
from Utils.report.captions import with_rounds
from Utils.report.groups import Group
from Utils.report.report_run import Run


def levels(groups: list[Group]) -> Section | None:
    """Make the section: density and accuracy after each level of multishot runs."""
    section = Section("Levels")
    for group in groups:
        for run in (r for r in group.runs if r.done and r.file("levels.csv")):
            section.blocks += _levels(group, run)
    return section if section.blocks else None


def _levels(group: Group, run: Run) -> list[Block]:
    try:
        table = levels_with_trained_best(run.folder, read_named(run.folder / "levels.csv"))
    except (ValueError, OSError):
        return []
    words = f"{with_rounds(run.options)} to compression {run.compression:.6g}, seed {run['seed']}"
    caption = f"{group.label}, {words}: density and accuracy of every level. {group.recipe.capitalize()}; n = 1."
    text = table.map(lambda v: f"{v:.6g}" if isinstance(v, float) else str(v))
    return [Table(slug("levels", run["pruner"], group.label, run["seed"]), caption, text, table)]
