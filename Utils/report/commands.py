"""The command lines that make a run again, with changes, or a grid of runs like those of a table."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from Models import registry
from Pruners import DENSE
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.override_text import target, written
from Utils.options.overrides import settable
from Utils.options.resolve import SAME_THING, weight_decay, with_density
from Utils.options.table import defaults, incidental, read_by
from Utils.options.types import Options
from Utils.report.groups import Group
from Utils.report.recipes import PRUNING, distance, rounds_of
from Utils.report.report_run import Run

BUDGETS = ("compression", "density", "sparsity")  # one budget in three ways
PLACES = ("data_dir", "result_dir", "no_cuda")  # options that the same command needs again, although no name depends on them


def command(options: Mapping[str, Any], **changes: Any) -> str:
    """Return the command line of a run with `changes`; None leaves an option out, a list is given as a list.

    A budget is written in the way that gives the same density to the last digit. That of a multishot run is its number of levels
    with its share per level, if it has one and `changes` gives no compression.
    """
    experiment = changes.get("experiment") or options.get("experiment", DEFAULT)
    usual, words = defaults(experiment), ["python", "main.py"]
    asked = dict(options) | changes
    usual["weight_decay"] = weight_decay(asked.get("optimizer") or "", (), usual.get("weight_decay") or 0.0)
    if "levels" in EXPERIMENTS[experiment].reads:
        asked = {"level_list": [options.get("level") or 1]} | asked
    budget = _budget(asked, changes, levels="levels" in EXPERIMENTS[experiment].reads)
    left_out = {*incidental(), "expid", "level"} - {*PLACES, *changes} | {*SAME_THING} - {budget}
    if options.get("model_class") == registry.USER:
        left_out.add("model_class")  # the name of the file implies it
    if "pruner_list" in changes or options.get("prune_epochs") == rounds_of(str(options.get("pruner", "rand"))):
        left_out.add("prune_epochs")  # it is each method's own
    if experiment != DEFAULT:
        words += ["--experiment", experiment]
    for option in read_by(experiment):
        value = asked.get(option.name)
        if option.name == "experiment" or option.name in left_out or value in (None, (), [], "", usual.get(option.name)):
            continue
        if option.parse is None:
            words.append(option.flag if value else f"--no-{option.flag[2:]}")
        else:
            values = value if isinstance(value, list | tuple) else [value]
            words += [option.flag, *map(exact, values)]
    return shlex.join(words)


def command_of(run: Run, **changes: Any) -> str:
    """Return the command line of a run with `changes` (see `command`)."""
    return command(run.options, **changes)


def exact(value: object) -> str:
    """Write a value in the shortest way that is read as the same value."""
    if isinstance(value, float):
        short = f"{value:.12g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _budget(asked: Mapping[str, Any], changes: Mapping[str, Any], *, levels: bool) -> str:
    """Return the option that gives the budget."""
    given = [name for name in SAME_THING if changes.get(name) is not None]
    if levels and asked.get("prune_amount") and (not given or "prune_amount" in given):
        return "prune_amount"
    if len(given) == 1:
        return given[0]
    return exact_budget([asked]) if asked.get("compression") is not None else ""


def exact_budget(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the one of `BUDGETS` from which all three follow as the options of all `runs` have them, the shortest in writing.

    If there is none, it is the compression.
    """

    def follows(name: str, options: Mapping[str, Any]) -> bool:
        if options.get(name) is None:
            return False
        found = with_density(Options(**{name: options[name]}), [name])
        return all(getattr(found, each) == options.get(each) for each in BUDGETS)

    able = [name for name in BUDGETS if all(follows(name, options) for options in runs)]
    return min(able, key=lambda name: sum(len(exact(options[name])) for options in runs), default=BUDGETS[0])


def central(group: Group) -> Run:
    """Return the run of a table, the first of its method, that was made most like those of the other methods."""
    firsts = [next(run for run in group.runs if run["pruner"] == method) for method in group.methods]
    return min(firsts, key=lambda run: sum(distance(run, other) for other in (*firsts, *group.dense[:1])))


def grid_command(group: Group, seeds: Sequence[int]) -> str:
    """Return the command of a table's grid with `seeds`: each cell as the run of the table that has its method and compression.

    Common options are flags; those of single methods, or of single cells, are overrides (`--for`).
    """
    cells = {(str(run["pruner"]), run.compression): run for run in reversed(group.runs)}
    budgets = {compression: run for (_, compression), run in sorted(cells.items(), key=lambda cell: cell[0][1])}
    name = exact_budget([run.options for run in budgets.values()])
    beside = dict.fromkeys([(DENSE, 0.0)], group.dense[0]) if group.dense else {}
    like = central(group)
    changes: dict[str, Any] = dict.fromkeys((*BUDGETS, "pruner", "seed"))
    changes |= {"pruner_list": group.methods, f"{name}_list": [run[name] for run in budgets.values()], "seed_list": list(seeds)}
    own: list[str] = []
    for option in settable(str(group.key["experiment"])):
        if option in SAME_THING:
            continue
        told = cells if option in PRUNING else cells | beside
        values = {cell: _own_value(run, option) for cell, run in told.items()}
        common = None if option == "prune_epochs" or None in values.values() else like[option]
        if any(value != common for value in values.values()):
            changes |= {option: common} if option != "prune_epochs" else {}
            own += _overrides(option, values, common, {c: {name: exact(run[name])} for c, run in budgets.items()})
    return " ".join([command_of(like, **changes), *(["--for", shlex.join(own)] if own else [])])


def _own_value(run: Run, option: str) -> Any:
    """Return the value of an option; None for rounds that are the method's own."""
    own = option == "prune_epochs" and run[option] == rounds_of(str(run["pruner"]))
    return None if own else run[option]


def _overrides(
    option: str, values: Mapping[tuple[str, float], Any], common: Any, budgets: Mapping[float, Mapping[str, str]]
) -> list[str]:
    """Write the overrides of one option: for a method where all its cells agree, else for single compressions."""
    words = []
    for method in dict.fromkeys(method for method, _ in values):
        of_method = {compression: value for (each, compression), value in values.items() if each == method}
        agree = all(value == next(iter(of_method.values())) for value in of_method.values())
        for compression, value in list(of_method.items())[: 1 if agree else None]:
            if value != common:
                where = method if agree else target(method, budgets[compression])
                words.append(written(where, option, _word(value)))
    return words


def _word(value: object) -> str:
    """Write a value as `--for` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else exact(value)
