"""The missing results of a report, and the commands that make them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from Pruners import DENSE
from Utils.base.text import flag_of
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.report.blocks import Missing, Section, command_of
from Utils.report.collect import Collection
from Utils.report.groups import Group
from Utils.report.recipes import distance, recipe_names, value_of
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
        found.append(Missing("weight histograms, for which a saved network is needed", command_of(run, experiment="singleshot")))
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
        dense = dict.fromkeys(("compression", "prune_amount", "prune_epochs", "pre_epochs"))
        found.append(Missing(f"the dense network beside {group.label}", command_of(run, pruner=DENSE, **dense)))
    found += _holes(group, run)
    counts = table.groupby(["pruner", "compression"]).size()
    if trained and counts.min() < ENOUGH and group.key["experiment"] != "multishot":
        asked = _lists(group) | {"seed": None, "seed_list": SEEDS}
        what = f"{ENOUGH} seeds or more for {group.label}, without which spreads say little"
        found.append(Missing(what, _grid_command(group, asked)))
    return found


def _holes(group: Group, run: Run) -> list[Missing]:
    """List the cells of the table that have no finished run."""
    done = {(r["pruner"], r.compression) for r in group.runs if r.done}
    compressions = sorted({r.compression for r in group.runs})
    holes = [(m, c) for m in group.methods for c in compressions if (m, c) not in done]
    return [
        Missing(f"{method} at compression {compression:.6g} for {group.label}",
                command_of(_like(group, method) or run, pruner=method, compression=compression))
        for method, compression in holes
    ]  # fmt: skip


def _like(group: Group, method: str) -> Run | None:
    return next((r for r in group.runs if r["pruner"] == method), None)


def _lists(group: Group) -> dict[str, object]:
    """Return the grid of a table as options."""
    compressions = sorted({run.compression for run in group.runs})
    return {"pruner": None, "pruner_list": group.methods, "compression": None, "compression_list": compressions}


def _grid_command(group: Group, asked: dict[str, object]) -> str:
    """Return the command of a table's grid: common options as flags, those of single methods as `--for`."""
    runs = {method: run for method in group.methods if (run := _like(group, method))}
    like = min(runs.values(), key=lambda run: sum(distance(run, other) for other in (*runs.values(), *group.dense[:1])))
    own = []
    for method, run in runs.items():
        for name in recipe_names([like, run]):
            if name not in ("prune_epochs", "scale") and run[name] is not None and value_of(run, name) != value_of(like, name):
                own.append(f"{method}:{flag_of(name)[2:]}={_word(run[name])}")
    return " ".join([command_of(like, **asked), *(["--for", shlex.join(own)] if own else [])])


def _word(value: object) -> str:
    """Write a value as `--for` reads it."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _example(collection: Collection) -> Run | None:
    """Return a run whose command line the others are made from; a pruned one, if there is any."""
    done = collection.done
    return next((r for r in done if r["pruner"] != DENSE), done[0] if done else None)
