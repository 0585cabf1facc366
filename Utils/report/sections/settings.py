"""Settings: the options that a reader needs, and those that differ from their defaults."""

from __future__ import annotations

from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.options.experiments import DEFAULT
from Utils.options.resolve import short_digest
from Utils.options.table import defaults, incidental
from Utils.report.blocks import Note, Section, Table
from Utils.report.groups import Group
from Utils.report.recipes import VARIED, rounds_of, text_of
from Utils.report.report_run import NOT_RECIPE, Run
from Utils.runs.made_on import COMPUTED_IN

LEFT_OUT = {*VARIED, *NOT_RECIPE, *incidental()}  # options that vary within the tables, or that name places
# The options that a reader needs, also where they have their defaults.
NEEDED = ("model_class", "model", "dataset", "pre_epochs", "post_epochs", "optimizer", "lr", "train_batch_size")
REST = "All other options have their defaults, as python main.py --help says them; the args.json of each run has all."
MANY = 3  # places, beyond which the value that most runs have is that of "all others"


def settings(groups: list[Group]) -> Section:
    """Make the section: a table of the options that a reader needs, and of those that differ from their defaults.

    Each value is listed with the tables or methods that have it.
    """
    runs = [(run, _words(run), _place(run, group)) for group in groups for run in group.all]
    rows = []
    for name in dict.fromkeys([*(n.replace("_", " ") for n in NEEDED), *(name for _, words, _ in runs for name in words)]):
        values: dict[str, list[str]] = {}
        for _, words, place in runs:
            if name in words:
                values.setdefault(words[name], []).append(place)
        rows += [{"option": name, "value": value, "for": whose} for value, whose in _by_value(values, groups, len(runs))]
    caption = "The main options, and all that differ from their defaults."
    return Section("Settings", [Table("settings", caption, pd.DataFrame(rows), words=3), Note(REST)])


def _by_value(values: dict[str, list[str]], groups: list[Group], count: int) -> list[tuple[str, str]]:
    """Return each value of an option with the places that have it, in words; `count` is the number of all runs."""
    everywhere = sum(map(len, values.values())) == count
    if everywhere and len(values) == 1:
        return [(value, "all runs") for value in values]
    places = {value: _whose(whose, groups) for value, whose in values.items()}
    most = max(values, key=lambda value: len(values[value]), default="")
    rest = [(most, "all others")] if everywhere and len(places[most]) > MANY else []
    return [(value, "; ".join(words)) for value, words in places.items() if not rest or value != most] + rest


def _words(run: Run) -> dict[str, str]:
    """Return the options of a run that are shown, and the contents of its files, as words for a reader."""
    shown = [name for name in run.options if name not in LEFT_OUT and (name in NEEDED or not _is_usual(run, name))]
    names = [name for name in shown if run[name] is not None or name not in NEEDED]
    return {name.replace("_", " "): _word(run[name]) for name in names} | {
        f"SHA-256 of {file}": short_digest(digest) for file, digest in run.contents.items()
    }


def _is_usual(run: Run, name: str) -> bool:
    """Tell whether an option of a run has its default; rounds that are the method's own count as such."""
    value, usual = run[name], defaults(str(run["experiment"]))
    if name == "prune_epochs":
        return run["pruner"] == DENSE or value in (None, 1, rounds_of(str(run["pruner"])))
    if name == COMPUTED_IN:
        return value in (None, "float32")
    if name == "scale":
        return value in (None, 1)
    return value in (None, [], (), "", usual.get(name)) or (name == "experiment" and value == DEFAULT)


def _whose(whose: list[str], groups: list[Group]) -> list[str]:
    """Name methods and tables, shortened if a whole table has the value."""
    left, words = set(whose), []
    for group in groups:
        every = {_place(run, group) for run in group.all}
        if every <= left:
            left -= every
            words.append(group.label if len(groups) > 1 else "all")
    return [*words, *sorted(left)]


def _place(run: Run, group: Group) -> str:
    return f"{run['pruner']} ({group.label})"


def _word(value: Any) -> str:
    """Write the value of an option for a reader."""
    if value is None or value in ([], (), ""):
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return text_of(value)
