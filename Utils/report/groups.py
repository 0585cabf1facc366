"""Groups of runs, each a table, that differ in method, budget and seed; a warning names any other difference."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.figures.style import in_order
from Utils.options.experiments import DEFAULT
from Utils.options.table import defaults
from Utils.report.collect import Collection
from Utils.report.recipes import ABLATIONS, NETWORK, SPLIT, differences, distance, separate_settings, text_of
from Utils.report.report_run import Run
from Utils.report.times import inference_ratio
from Utils.runs.saved import last_part, shortened
from Utils.runs.summary_keys import flags, report_columns, value_at

WORDS = ABLATIONS | {"quantization": "mixed precision", "compact": "without dead units", "no_rewind": "no rewinding",
                     "weights_dense": "masks of the file ignored"}  # fmt: skip


@dataclass
class Group:
    """The runs of one table: pruned ones, and dense ones of the same network.

    Attributes:
        key: the options that all share.
        runs: the pruned runs.
        dense: the dense runs.
        name: the words that distinguish the group from another of the same key.
    """

    key: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    dense: list[Run] = field(default_factory=list)
    name: str = ""

    @property
    def all(self) -> list[Run]:
        """All runs, dense ones first."""
        return [*self.dense, *self.runs]

    @property
    def trained(self) -> bool:
        """Whether any pruned network has an accuracy; in a group without pruned networks, the dense one."""
        return any(run.summary.get("top1_last") is not None for run in self.runs or self.dense)

    @property
    def methods(self) -> list[str]:
        """The methods, in the order of all figures."""
        return in_order(str(run["pruner"]) for run in self.runs)

    @cached_property
    def label(self) -> str:
        """Network, dataset, and settings that differ from the defaults."""
        key = self.key
        words = [f"{key['model_class']} {shortened(last_part(str(key['model'])))} on {shortened(last_part(str(key['dataset'])))}"]
        words += [key["experiment"]] if key["experiment"] != DEFAULT else []
        words += [f"{key['level']} levels"] if (key.get("level") or 1) > 1 else []
        usual = defaults(key["experiment"])
        named = ("experiment", "model_class", "model", "dataset", "level")
        for name in (n for n in SPLIT if n not in named and key.get(n) is not None and key.get(n) != usual.get(n)):
            words.append(WORDS.get(name) or f"{name.replace('_', ' ')} {shortened(last_part(str(key[name])))}")
        return ", ".join([*words, self.name] if self.name else words)

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row per run (see `row`), the dense ones first."""
        return pd.DataFrame([row(run) for run in self.all])

    def settings(self, names: Iterable[str]) -> str:
        """Return `names` with their values, as words of a caption; several values are joined by "or"."""
        words = []
        for name in names:
            values = list(dict.fromkeys(text_of(run[name]) for run in self.all if run[name] not in (None, (), [])))
            if values:
                words.append(f"{name.replace('_', ' ')} {' or '.join(values)}")
        return ", ".join(words)

    @property
    def recipe(self) -> str:
        """The recipe of the training, for captions."""
        if not any(run["post_epochs"] is not None for run in self.all):
            return ""
        scale = {run["scale"] for run in self.all} - {None, 1}
        shortened_by = f"; epochs scaled by {' or '.join(text_of(s) for s in sorted(scale))}" if scale else ""
        return f"{self.settings(('optimizer', 'lr', 'train_batch_size', 'post_epochs', 'pre_epochs'))}{shortened_by}"

    def n(self, runs: Sequence[Run] | None = None) -> str:
        """Return the number of seeds that each number stands for: `n = 3`, or `n = 1 to 3`."""
        runs = self.all if runs is None else runs
        cells: dict[Hashable, int] = {}
        for run in (r for r in runs if r.done):
            cell = (run["pruner"], run.compression)
            cells[cell] = cells.get(cell, 0) + 1
        low, high = min(cells.values(), default=0), max(cells.values(), default=0)
        return f"n\u00a0=\u00a0{low}" if low == high else f"n\u00a0=\u00a0{low} to {high}"

    @property
    def differences(self) -> list[str]:
        """A sentence for each part of the recipe that is not the same for all runs (see `Utils.report.recipes`)."""
        return differences(self.all)


def groups(collection: Collection) -> list[Group]:
    """Return the tables of a report, those with default settings first.

    A network that was only trained dense has a table too.
    """
    found: dict[Hashable, Group] = {}
    for run in (r for r in collection.runs if r["pruner"] != DENSE):
        key = _shared(run, SPLIT)
        found.setdefault(_hashable(key), Group(key)).runs.append(run)
    tables = [Group(group.key, own, name=name) for group in found.values() for name, own in separate_settings(group.runs)]
    dense = [run for run in collection.runs if run["pruner"] == DENSE]
    for group in tables:
        group.dense = _dense_of(group, dense)
    used = {run.folder for group in tables for run in group.dense}
    alone: dict[Hashable, Group] = {}
    for run in (r for r in dense if r.folder not in used):
        alone.setdefault(_network(_shared(run, NETWORK)), Group(_shared(run, SPLIT))).dense.append(run)
    tables += [Group(group.key, dense=own, name=name) for group in alone.values() for name, own in separate_settings(group.dense)]
    return sorted(tables, key=lambda group: len(group.label.split(", ")))


def _dense_of(group: Group, dense: Sequence[Run]) -> list[Run]:
    """Return the dense networks beside a group's: of the same grid, else of the same network.

    If they have several recipes, the one nearest to the group's counts.
    """
    same = [run for run in dense if _network(_shared(run, NETWORK)) == _network(group.key)]
    grids = {run.grid for run in group.runs} - {""}
    parts = separate_settings([run for run in same if run.grid in grids] or same)
    return min((own for _, own in parts), key=lambda own: min((distance(own[0], run) for run in group.runs if own), default=0))


def nearest(group: Group, others: Iterable[Group]) -> Group | None:
    """Return the one of `others` whose runs were made most like those of `group`, if there is any.

    `others` are tables that may stand beside the group's.
    """

    def apart(other: Group) -> tuple[bool, int]:
        pairs = itertools.product(group.runs or group.dense, other.runs or other.dense)
        return other.name != group.name, min(distance(one, two) for one, two in pairs)

    return min(others, key=apart, default=None)


def _shared(run: Run, names: Iterable[str]) -> dict[str, Any]:
    """Return the options of a run that its table shares; `--precision bf16` counts as `--quantization`, which is the same."""
    return {name: (name == "quantization" and run.mixed) or run[name] for name in names}


def _network(options: Mapping[str, Any]) -> Hashable:
    return _hashable({name: options.get(name) for name in NETWORK})


def row(run: Run) -> dict[str, Any]:
    """Return one run as the row of a table; a number that it does not have is None.

    Columns: folder, status, pruner, compression and seed, those that `Utils.runs.summary_keys` declares, and `flops_ratio`, the
    kept share of the dense network's multiply-adds.
    """
    numbers = {name: value_at(run.summary, path) for name, (path, _) in report_columns().items()}
    ratio = inference_ratio(run.summary)
    numbers |= {f"inference_ratio{end}": ratio[name] for name, end in (("median", ""), ("q1", "_q1"), ("q3", "_q3"))}
    numbers |= {flag.name: bool(numbers[flag.name]) for flag in flags()}
    flops, total = numbers["flops_kept"], numbers["flops_total"]
    return numbers | {
        "folder": str(run.folder),
        "status": run.status,
        "pruner": run["pruner"],
        "compression": run.compression,
        "seed": run["seed"],
        "flops_ratio": flops / total if flops is not None and total else None,
    }


def _hashable(key: dict[str, Any]) -> Hashable:
    return tuple((name, str(value)) for name, value in key.items())
