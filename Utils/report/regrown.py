"""The regrowths of a report, sorted into tables: those of one table differ in their seeds and in what they regrew."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.options.parts import Affects
from Utils.options.table import read_by
from Utils.report.captions import with_rounds
from Utils.report.recipes import text_of
from Utils.report.report_run import Run
from Utils.runs.made_on import COMPUTED_IN
from Utils.runs.saved import last_part, shortened
from Utils.runs.saved_options import recorded_in

SEEDS = ("seed", "split_seed")
FILES = ("run", "checkpoint", "regrow_start", "regrow_dense", "regrow_reference", "regrow_replay")  # options that name a network
CHOICES = ("regrow_allocation", "regrow_selection", "regrow_init")
TARGET = ("regrow_to", "regrow_fraction")
# Options that runs of one table share: the rivals and the fine-tuning depend on them.
SHARED = (
    *(o.name for o in read_by("regrow") if o.affects & Affects.RIVALS and o.name not in (*SEEDS, *FILES)),
    *TARGET,
    COMPUTED_IN,
)
# Options of a regrowth itself, which name it where they are not the same for all runs of a table.
OWN = tuple(
    o.name
    for o in read_by("regrow")
    if o.part.startswith("regrow") and o.affects & Affects.RESULT and o.name not in (*CHOICES, *SHARED, "regrow_dense")
)
DEPTH = 8  # regrowths of regrowths that a kind describes


@dataclass(frozen=True)
class Regrowth:
    """A run that regrew a network.

    Attributes:
        run: the run.
        kind: a text that is equal for starts that differ in their seeds alone (see `kind_of`).
        start: a text that is equal for the same start network: the checksum of its file, or its path.
        choice: allocation, selection and init, and other options that not all runs of its table share.
    """

    run: Run
    kind: str
    start: str
    choice: str = ""

    @classmethod
    def of(cls, run: Run) -> Regrowth:
        """Read the start of a run."""
        file = str(run["regrow_start"])
        return cls(run, kind_of(file), run.contents.get(file) or str(Path(file).resolve()))


@dataclass(frozen=True)
class RegrowthTable:
    """The regrowths of one table.

    Attributes:
        regrowths: the regrowths, with their choices.
        start: a description of the start networks.
        named: whether another table has the same target, so that a label needs the start.
        recipe: the options that tell this table from others of the same network, dataset and target; often empty.
    """

    regrowths: list[Regrowth]
    start: str
    named: bool = False
    recipe: str = ""


def regrowth_tables(runs: Iterable[Run]) -> list[RegrowthTable]:
    """Sort runs into tables: by network, dataset, target and recipe, and by the kind of the start network."""
    found: dict[Hashable, list[Regrowth]] = {}
    for regrowth in map(Regrowth.of, runs):
        key = tuple(text_of(regrowth.run[name]) for name in SHARED)
        found.setdefault((key, regrowth.kind), []).append(regrowth)
    alike: dict[Hashable, list[list[Regrowth]]] = {}
    for regrowths in found.values():
        target = tuple(text_of(regrowths[0].run[name]) for name in ("model_class", "model", "dataset", *TARGET))
        alike.setdefault(target, []).append(regrowths)
    return [table for parts in alike.values() for table in _named_apart(parts)]


def _named_apart(parts: Sequence[list[Regrowth]]) -> list[RegrowthTable]:
    """Describe tables of one target, so that no two have the same description."""
    kinds = {part[0].kind: part[0].run for part in parts}
    starts = _descriptions({kind: _options_of(str(run["regrow_start"])) for kind, run in kinds.items()},
                           {kind: str(run["regrow_start"]) for kind, run in kinds.items()})  # fmt: skip
    varied = _varied([{name: part[0].run[name] for name in SHARED} for part in parts])
    tables = []
    for part in parts:
        recipe = ", ".join(f"{name.replace('_', ' ').removeprefix('regrow ')} {text_of(part[0].run[name])}" for name in varied)
        tables.append(RegrowthTable(_with_choices(part), starts[part[0].kind], len(kinds) > 1, recipe))
    return tables


def _with_choices(regrowths: Sequence[Regrowth]) -> list[Regrowth]:
    """Name what each run regrew, apart from others that regrew otherwise."""
    by_choice: dict[str, list[Regrowth]] = {}
    for regrowth in regrowths:
        by_choice.setdefault(_choice(regrowth.run), []).append(regrowth)
    named = {}
    for choice, own in by_choice.items():
        varied = _varied([_own_options(regrowth.run) for regrowth in own])
        for regrowth in own:
            words = [choice, *(_worded(name, regrowth.run[name]) for name in varied)]
            named[regrowth.run.folder] = Regrowth(regrowth.run, regrowth.kind, regrowth.start, ", ".join(words))
    return [named[regrowth.run.folder] for regrowth in regrowths]


def _choice(run: Run) -> str:
    how = "replayed" if run["regrow_replay"] else f"{run['regrow_allocation']}, {run['regrow_selection']}"
    return f"{how}, {run['regrow_init']}"


def _worded(name: str, value: Any) -> str:
    if name in FILES:
        shown = last_part(str(Path(str(value)).parent)) if value else "none"
    else:
        shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else text_of(value)
    return f"{name.removeprefix('regrow_').replace('_', ' ')} {shortened(shown)}"


def _own_options(run: Run) -> dict[str, Any]:
    """Return the options of `OWN`, with networks of one kind alike."""
    return {name: kind_of(str(run[name])) if name in FILES and run[name] else run[name] for name in OWN}


def _varied(options: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the options that are not the same in all of `options`."""
    names = dict.fromkeys(name for each in options for name in each)
    return [name for name in names if len({text_of(each.get(name)) for each in options}) > 1]


def kind_of(file: str, depth: int = DEPTH) -> str:
    """Return a text that is equal for networks of runs that differ in their seeds alone; for other files it is the path."""
    options = _options_of(file)
    if not options or not depth:
        return file
    kept = {name: value for name, value in options.items() if name not in FILES}
    for name in ("regrow_start", "regrow_dense", "regrow_reference", "regrow_replay"):
        if options.get(name) and Path(str(options[name])).parent != Path(file).parent:
            kept[name] = kind_of(str(options[name]), depth - 1)
    return json.dumps(kept, sort_keys=True, default=str)


def _options_of(file: str) -> dict[str, Any]:
    """Return the recipe of the run that saved `file`, without seeds; empty if no run did."""
    folder = Path(file).parent
    try:
        recipe = Run(folder, recorded_in(folder), {}, "done").recipe
    except (Refused, OSError):
        return {}
    return {name: value for name, value in recipe.items() if name not in (*SEEDS, "given", "checksum")}


def _descriptions(options: Mapping[str, Mapping[str, Any]], files: Mapping[str, str]) -> dict[str, str]:
    """Describe each kind of start: method and compression, and options that tell apart those of one description."""
    words = {kind: _described(options[kind]) or files[kind] for kind in options}
    for word in set(words.values()):
        same = [kind for kind in words if words[kind] == word]
        varied = _varied([options[kind] for kind in same])
        for kind in same if len(same) > 1 else ():
            apart = (f"{name.replace('_', ' ')} {text_of(options[kind].get(name))}" for name in varied if name not in FILES)
            words[kind] = ", ".join([word, *apart]) if varied else files[kind]
    return words


def _described(options: Mapping[str, Any]) -> str:
    """Return method and compression of a run that pruned; "" for other runs."""
    try:
        return f"{with_rounds(options)} at compression {float(options['compression']):.6g}"
    except (KeyError, TypeError, ValueError):
        return ""
