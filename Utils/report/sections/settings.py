"""Settings: the options that all runs share, and those that differ."""

from __future__ import annotations

from typing import Any

import pandas as pd

from Utils.options.resolve import short_digest
from Utils.options.table import incidental
from Utils.report.blocks import Block, Note, Section, Table
from Utils.report.groups import Group
from Utils.report.recipes import VARIED, text_of
from Utils.report.report_run import NOT_RECIPE, Run

LEFT_OUT = {*VARIED, *NOT_RECIPE, *incidental()}  # options that vary within the tables, or that name places


def settings(groups: list[Group]) -> Section:
    """Make the section: every option of the runs, with one value if all share it.

    Else each value is listed with the tables or methods that have it.
    """
    runs = [(_words(run), _place(run, group)) for group in groups for run in group.all]
    shared, rows = [], []
    for name in dict.fromkeys(name for words, _ in runs for name in words):
        values: dict[str, list[str]] = {}
        for words, place in runs:
            if name in words:
                values.setdefault(words[name], []).append(place)
        if len(values) < 2:
            shared += [f"{name}: {value}" for value in values]
            continue
        for value, whose in values.items():
            rows.append({"option": name, "value": value, "for": _whose(whose, groups)})
    blocks: list[Block] = [Note(f"All runs have {'; '.join(shared)}.")] if shared else []
    if rows:
        blocks.append(Table("settings-that-differ", "Options that are not the same for all runs.", pd.DataFrame(rows), words=3))
    return Section("Settings", blocks)


def _words(run: Run) -> dict[str, str]:
    """Return the options of a run and the contents of its files, as words for a reader."""
    names = (name for name in run.options if name not in LEFT_OUT and (name, run[name]) != ("scale", 1))
    return {name.replace("_", " "): _word(run[name]) for name in names} | {
        f"SHA-256 of {file}": short_digest(digest) for file, digest in run.contents.items()
    }


def _whose(whose: list[str], groups: list[Group]) -> str:
    """Name methods and tables, shortened if a whole table has the value."""
    left, words = set(whose), []
    for group in groups:
        every = {_place(run, group) for run in group.all}
        if every <= left:
            left -= every
            words.append(group.label if len(groups) > 1 else "all")
    return "; ".join([*words, *sorted(left)])


def _place(run: Run, group: Group) -> str:
    return f"{run['pruner']} ({group.label})"


def _word(value: Any) -> str:
    """Write the value of an option for a reader."""
    if value is None or value in ([], (), ""):
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text_of(value)
