"""The missing results of a report, and the commands that make them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from Pruners import DENSE
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.groups.grid_options import ABLATIONS
from Utils.report.blocks import Missing, Section
from Utils.report.collect import Collection
from Utils.report.commands import BUDGETS, central, command_of, grid_command
from Utils.report.groups import Group
from Utils.report.report_run import Run

SEEDS = [1, 2, 3]
ENOUGH = 3  # seeds, below which a standard deviation says little


def missing(collection: Collection, groups: Sequence[Group], sections: Sequence[Section]) -> list[Missing]:
    """List every missing result, with a command for each."""
    titles = {section.title for section in sections}
    found = []
    for group in groups:
        found += _of_group(group)
    run = _example(collection)
    if run is None:
        return found
    traced = {"experiment": "singleshot", "save_trace": True}
    if "Trace of one inference step" not in titles:
        found.append(Missing("a trace of one inference step", command_of(run, **traced)))
    if "Mixed precision" not in titles:
        trains = "train" in EXPERIMENTS[run["experiment"]].reads
        experiment = run["experiment"] if trains else DEFAULT  # without training, the other command would be the run itself
        other = command_of(run, experiment=experiment, quantization=not run.mixed, precision=None)
        found.append(Missing("training time and memory with and without mixed precision", other))
    unpaired = [str(r.folder) for r in collection.done if r.mixed and r.file("model.pt") and not r.summary.get("precision_pairs")]
    if unpaired:
        words = ["python", "main.py", "--experiment", "time", "--compare-precision", "--run", *unpaired]
        found.append(Missing("times in mixed beside full precision, measured in turn", shlex.join(words)))
    if "Weight histograms" not in titles:
        again = {"overwrite": True} if run["experiment"] == DEFAULT else {}  # its own network is gone
        what = "weight histograms, for which a saved network is needed"
        found.append(Missing(what, command_of(run, experiment=DEFAULT, **again)))
    return found


def _of_group(group: Group) -> list[Missing]:
    run = next((r for r in group.runs if r.done), None)
    if run is None:
        return []
    found, table = [], group.table[group.table["status"] == "done"]
    trained = table["accuracy"].notna().any()
    if not trained:
        found.append(Missing(f"accuracies: {group.label} was pruned and not trained", command_of(run, experiment="singleshot")))
    elif not (any(r.done for r in group.dense) or group.key["quantization"]):
        found.append(Missing(f"the dense network beside {group.label}", _dense_command(group)))
    found += _holes(group)
    counts = table.groupby(["pruner", "compression"]).size()
    if trained and counts.min() < ENOUGH and group.key["experiment"] != "multishot":
        what = f"{ENOUGH} seeds or more for {group.label}, without which spreads say little"
        found.append(Missing(what, grid_command(group, SEEDS)))
    return found


def _dense_command(group: Group) -> str:
    """Return the command of the dense network beside a table, as a grid would have it."""
    run = central(group)
    unset = dict.fromkeys((*BUDGETS, "prune_amount", "prune_epochs", *filter(None, ABLATIONS.values())))
    levels = "levels" in EXPERIMENTS[run["experiment"]].reads
    return command_of(run, pruner=DENSE, **unset, **({"level_list": [1]} if levels else {"pre_epochs": None}))


def _holes(group: Group) -> list[Missing]:
    """List the cells of the table that have no finished run."""
    done = {(r["pruner"], r.compression) for r in group.runs if r.done}
    budgets = {run.compression: {name: run[name] for name in (*BUDGETS, "prune_amount")} for run in group.runs}
    holes = [(m, c) for m in group.methods for c in sorted(budgets) if (m, c) not in done]
    return [
        Missing(f"{method} at compression {compression:.6g} for {group.label}",
                command_of(_like(group, method), **budgets[compression]))
        for method, compression in holes
    ]  # fmt: skip


def _like(group: Group, method: str) -> Run:
    """Return the run of a method that its other cells are made like: a finished one, if there is any."""
    own = [run for run in group.runs if run["pruner"] == method]
    return next((run for run in own if run.done), own[0])


def _example(collection: Collection) -> Run | None:
    """Return a run whose command line the others are made from; a pruned one, if there is any."""
    done = collection.done
    return next((r for r in done if r["pruner"] != DENSE), done[0] if done else None)
