"""The subjects of an assignment's report: the network of most tasks, the other networks, the runs in mixed precision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import pandas as pd

from Pruners import DENSE
from Utils.base.text import counted
from Utils.options.table import defaults
from Utils.report.assignment.words import dataset_name, method_name, network_name, several, subject_name
from Utils.report.groups import Group
from Utils.report.recipes import SPLIT, rounds_of
from Utils.report.report_run import Run

NAMED = ("experiment", "model_class", "model", "dataset", "level", "quantization")  # parts of a table's key that name it


@dataclass(frozen=True)
class Subject:
    """A network with a dataset, and its runs.

    Attributes:
        group: its table, in which a method with two numbers of rounds has two names, as `synflow` and `synflow, 1 round`.
        group_made: its table as the runs were made.
        mixed: the table of the same network in mixed precision, if there is one.
    """

    group: Group
    group_made: Group
    mixed: Group | None = None

    @property
    def name(self) -> str:
        """Network and dataset in words."""
        return subject_name(str(self.group.key["model"]), str(self.group.key["dataset"]))

    @property
    def network(self) -> str:
        """The name of the network."""
        return network_name(str(self.group.key["model"]))

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return dataset_name(str(self.group.key["dataset"]))

    @cached_property
    def compressions(self) -> list[float]:
        """The compressions of its runs, in ascending order."""
        return sorted({run.compression for run in self.group.runs})

    def of(self, method: str, compression: float) -> Run | None:
        """Return the finished run of a method at a compression with the smallest seed, if there is one."""
        own = (r for r in self.group.runs if r.done and r["pruner"] == method and abs(r.compression - compression) < 1e-6)
        return min(own, key=lambda run: run["seed"], default=None)

    def has(self, method: str, compression: float) -> bool:
        """Tell whether there is a finished run of a method at a compression."""
        return self.of(method, compression) is not None


@dataclass(frozen=True)
class Subjects:
    """The subjects of a report.

    Attributes:
        main: the network of Tasks 1.2 to 4; None if no table fits.
        others: the other networks of Task 1.1.
    """

    main: Subject | None
    others: list[Subject] = field(default_factory=list)

    @property
    def all(self) -> list[Subject]:
        """All of them, the main one first."""
        return [*filter(None, [self.main]), *self.others]

    @property
    def runs(self) -> list[Run]:
        """All their runs, those in mixed precision included."""
        mixed = [run for subject in self.all if subject.mixed for run in subject.mixed.all]
        return [run for subject in self.all for run in subject.group_made.all] + mixed


def subjects_of(tables: Sequence[Group]) -> Subjects:
    """Choose the subjects among the tables of a report.

    The main one has most cells and, where several have as many, mixed precision beside it. Tables that differ from another in
    more than network, dataset, precision or rounds are left to the appendix.
    """
    kinds: dict[str, list[Group]] = {}
    for group in tables:
        if group.methods and group.key["experiment"] == "singleshot":
            kinds.setdefault(str({name: group.key[name] for name in SPLIT}), []).append(group)
    plain = [group for group in kinds.values() if not group[0].key["quantization"] and not _extra(group[0])]
    plain = plain or [group for group in kinds.values() if not group[0].key["quantization"]]
    found = [_subject(same, tables) for same in plain]
    if not found:
        return Subjects(None)
    main = max(found, key=lambda subject: (_cells(subject.group_made), subject.mixed is not None))
    return Subjects(main, [subject for subject in found if subject is not main])


def _subject(same: Sequence[Group], tables: Sequence[Group]) -> Subject:
    first = max(same, key=_cells)
    runs, there = list(first.runs), {_rounds_of(run) for run in first.runs}
    for group in (group for group in same if group is not first):
        runs += [run for run in group.runs if _rounds_of(run) not in there]
        there |= {_rounds_of(run) for run in group.runs}
    mixed = [g for g in tables if g.key["quantization"] and all(g.key[n] == first.key[n] for n in SPLIT if n != "quantization")]
    named = [replace(run, options={**run.options, "pruner": _method_of(run, there)}) for run in runs]
    made = Group(first.key, runs, first.dense)
    return Subject(Group(first.key, named, first.dense), made, max(mixed, key=_cells, default=None))


def _rounds_of(run: Run) -> tuple[str, int]:
    """Return the method of a run and its number of rounds."""
    return str(run["pruner"]), int(run["prune_epochs"] or rounds_of(str(run["pruner"])) or 1)


def _method_of(run: Run, there: Collection[tuple[str, int]]) -> str:
    """Return the method of a run, with its rounds if the method has several numbers of rounds `there`.

    The method's own number, or else the largest, has no such addition.
    """
    method, rounds = _rounds_of(run)
    counts = {count for name, count in there if name == method}
    usual = rounds_of(method) or 1
    plain = usual if usual in counts else max(counts)
    return method if rounds == plain else f"{method}, {counted(rounds, 'round')}"


def _cells(group: Group) -> int:
    return len({(run["pruner"], run.compression) for run in group.runs})


def _extra(group: Group) -> list[str]:
    usual = defaults(group.key["experiment"])
    return [n for n in SPLIT if n not in NAMED and group.key.get(n) is not None and group.key.get(n) != usual.get(n)]


def rounds_said(runs: Sequence[Run]) -> str:
    """Name the rounds of each method of `runs` that takes, or usually takes, more than one: `SynFlow: 100 rounds`."""
    found: dict[str, set[int]] = {}
    for run in runs:
        method = str(run["pruner"]).partition(",")[0]
        if method != DENSE:
            found.setdefault(method, set()).add(int(run["prune_epochs"] or rounds_of(method) or 1))
    words = [
        f"{method_name(method)}: {several(sorted(counts))} round{'s' * (counts != {1})}"
        for method, counts in found.items()
        if max(counts) > 1 or (rounds_of(method) or 1) > 1
    ]
    return "; ".join(words)


def means(subject: Subject, column: str) -> pd.Series:
    """Return the mean of a column of the subject's dense runs."""
    table = subject.group.table
    return pd.to_numeric(table.loc[table["pruner"] == DENSE, column]).dropna()
