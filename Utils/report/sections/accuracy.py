"""Accuracy: the table of each network and dataset."""

from __future__ import annotations

from Utils.report import findings
from Utils.report.blocks import Section, Warnings, slug
from Utils.report.captions import described, sentences
from Utils.report.groups import Group
from Utils.report.pivot import pivot
from Utils.runs.summary_keys import report_columns


def accuracy(groups: list[Group]) -> Section | None:
    """Make the section: top-1 accuracy of the last epoch, a table per network and dataset."""
    section, label = Section("Accuracy"), report_columns()["accuracy"][1].label
    for group in (g for g in groups if g.trained):
        caption = f"{group.label}: {label} on the test set after {_epoch(group)}. {described(group)}"
        section.blocks.append(pivot(group, "accuracy", slug("accuracy", group.label), caption, marks=True))
        if group.differences:
            recipes = [f"Not the same for all runs of this table: {line}." for line in group.differences]
            section.blocks.append(Warnings(recipes))
        section.blocks += sentences(findings.leaders(group) + findings.doubtful(group))
    return section if section.blocks else None


def _epoch(group: Group) -> str:
    patient = {bool(run["patience"]) for run in group.all}
    kept = "the epoch whose network is kept, the best in validation (--patience)"
    return kept if patient == {True} else f"the last epoch, in some runs {kept}" if True in patient else "the last epoch"
