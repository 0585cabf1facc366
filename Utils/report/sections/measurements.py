"""Measurements: a table of each number whose declaration asks for one."""

from __future__ import annotations

from Utils.report import findings
from Utils.report.blocks import Section, slug
from Utils.report.captions import described, sentences
from Utils.report.groups import Group
from Utils.report.pivot import pivot
from Utils.runs.summary_keys import report_columns


def measurements(groups: list[Group]) -> Section | None:
    """Make the section: a table of each number that declares one; methods are ranked if the declaration says how."""
    section = Section("Measurements")
    for column, (_, key) in report_columns().items():
        for group in (g for g in groups if key.report.table and g.table[column].notna().any()):
            caption = f"{group.label}: {key.label or key.name}. {described(group, group.trained)}"
            section.blocks.append(pivot(group, column, slug(column, group.label), caption))
            section.blocks += sentences(findings.ranked(group, column, key) if key.report.better else [])
    return section if section.blocks else None
