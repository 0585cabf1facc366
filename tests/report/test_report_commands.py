"""Every command that a report suggests is one that the program takes, and it makes exactly the run that is missing."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from conftest import TINY
from reports import collection, made

import Pruners
from Utils.options.command_line import parse
from Utils.options.resolve import identity, with_density, with_rounds
from Utils.options.table import defaults
from Utils.options.types import Grid, Options
from Utils.report.collect import collect
from Utils.report.commands import command
from Utils.report.groups import groups
from Utils.report.missing import missing
from Utils.report.report_run import Run

LEVELS = {"pre_epochs": 3, "post_epochs": 2, "level": 3}


def run_of(experiment, pruner, budget, seed=1, **changes):
    """A finished run as its folder records it, with a budget such as {"density": 0.3}."""
    found = with_density(Options(experiment=experiment, level=changes.get("level", 1), **budget), list(budget))
    told = {name: getattr(found, name) for name in ("compression", "density", "sparsity")}
    told |= {"prune_amount": budget["prune_amount"]} if "prune_amount" in budget else {}
    usual = defaults(experiment) | {"model_class": "default", "prune_epochs": Pruners.load(pruner).rounds, "precision": None}
    options = usual | told | {"experiment": experiment, "pruner": pruner, "seed": seed} | changes
    options |= {"lr_drops": list(options.get("lr_drops") or [])}
    summary = made(pruner, top1=None if experiment == "prune" else 90.0).summary
    return Run(Path("/runs") / f"{pruner}-{budget}-{seed}", options | {"argv": []}, summary, "done")


def cells_of(line):
    words = shlex.split(line)
    assert words[:2] == ["python", "main.py"]
    found = parse(words[2:])
    return [cell.options for cell in found.cells] if isinstance(found, Grid) else [found]


def check(found, run, **changes):
    """The options that a command gives are those of `run` with `changes`."""
    told, wanted = identity(with_rounds(found)), run.options | changes
    differing = {name: (told[name], wanted[name]) for name in told if name in wanted and told[name] != wanted[name]}
    assert not differing and found.experiment == wanted["experiment"]


def suggested(*runs):
    return {item.what: item.command for item in missing(collection(*runs), groups(collection(*runs)), [])}


def one(items, word):
    (line,) = [line for what, line in items.items() if word in what]
    return line


BUDGETS = [[{"density": 0.3}, {"density": 0.05}], [{"sparsity": 0.7}, {"sparsity": 0.98}], [{"compression": 0.1 + 0.2}, {"compression": 2.0}],
           [{"compression": 1 / 3}, {"density": 1 / 7}]]  # fmt: skip
WAYS = [
    ("singleshot", {}), ("prune", {}), ("singleshot", {"quantization": True}), ("singleshot", {"quantization": True, "precision": "bf16"}),
    ("singleshot", {"optimizer": "adamw", "weight_decay": 0.0}), ("singleshot", {"optimizer": "adamw", "weight_decay": 0.01, "lr": 1 / 3}),
    ("singleshot", {"prune_bias": True, "shuffle": True, "lr_drops": [3, 5], "augment": "none", "save_trace": True}),
    ("singleshot", {"data_dir": "/there", "no_cuda": True, "result_dir": "here", "precision": "float32", "val_fraction": 0.1, "patience": 2}),
    ("multishot", LEVELS), ("multishot", LEVELS | {"rewind_epoch": 2}), ("multishot", LEVELS | {"no_rewind": True, "quantization": True}),
]  # fmt: skip


@pytest.mark.parametrize("budgets", BUDGETS, ids=str)
@pytest.mark.parametrize(("experiment", "way"), WAYS, ids=str)
def test_a_cell_that_is_missing(experiment, way, budgets):
    low, high = (run_of(experiment, "snip", budget, **way) for budget in budgets)
    own = run_of(experiment, "synflow", budgets[0], lr=0.5, prune_epochs=7, **{k: v for k, v in way.items() if k != "lr"})
    own = own if experiment != "prune" else run_of(experiment, "synflow", budgets[0], prune_epochs=7, **way)
    items = suggested(low, high, own)
    *_, cell = cells_of(one(items, f"synflow at compression {high.compression:.6g}"))
    check(cell, own, **{name: high.options[name] for name in ("compression", "density", "sparsity")})
    assert (cell.data_dir, cell.no_cuda, cell.result_dir) == tuple(own.options[name] for name in ("data_dir", "no_cuda", "result_dir"))
    if experiment != "prune" and not way.get("quantization"):
        (dense,) = cells_of(one(items, "the dense network"))
        keep = {} if experiment == "singleshot" else {"level": 1}
        check(dense, low, pruner="dense", compression=0.0, density=1.0, sparsity=0.0, shuffle=False, prune_epochs=with_rounds(dense).prune_epochs, **keep)
    else:
        assert not any("the dense network" in what for what in items)
    if experiment != "prune":
        *_, other = cells_of(one(items, "without mixed precision"))
        check(other, low, quantization=not low["quantization"], precision=None)


@pytest.mark.parametrize("way", [{}, {"rewind_epoch": 1}, {"no_rewind": True}], ids=str)
def test_a_cell_of_levels_that_each_remove_a_share(way):
    runs = [run_of("multishot", pruner, {"prune_amount": amount}, **LEVELS | way) for pruner, amount in (("mag", 0.2), ("mag", 0.3), ("snip", 0.2))]
    items = suggested(*runs)
    *_, cell = cells_of(one(items, "snip at compression"))
    check(cell, runs[2], **{name: runs[1].options[name] for name in ("compression", "density", "sparsity", "prune_amount")})
    *_, mixed = cells_of(one(items, "mixed precision"))
    check(mixed, runs[0], quantization=True)
    assert cells_of(one(items, "the dense network"))[0].pruner == "dense"


@pytest.mark.parametrize(("experiment", "way"), WAYS, ids=str)
def test_a_trace_and_a_network(experiment, way):
    run = run_of(experiment, "snip", {"density": 0.3}, **way)
    items = suggested(run)
    (trace,) = cells_of(one(items, "a trace"))
    kept = {name: value for name, value in run.options.items() if name in trace.record()}
    single = Run(run.folder, kept | {"experiment": "singleshot"}, run.summary, "done")
    check(trace, single, save_trace=True)
    (saved,) = cells_of(one(items, "histograms"))
    check(saved, single)
    assert saved.overwrite is (experiment == "singleshot")  # the run itself lacks its network
    if experiment == "prune":
        (trained,) = cells_of(one(items, "accuracies"))
        check(trained, single)
        check(*cells_of(one(items, "mixed precision")), single, quantization=True)


def test_more_seeds_of_every_cell_as_it_was_made():
    """Options of one method, of one cell and of the dense network differ; some have no value."""
    runs = [
        run_of("singleshot", "snip", {"density": 0.3}, patience=2, val_fraction=0.1, augment="none"), run_of("singleshot", "snip", {"density": 0.05}, lr=0.5),
        run_of("singleshot", "mag", {"density": 0.3}, pre_epochs=200, save_trace=True), run_of("singleshot", "mag", {"density": 0.05}, pre_epochs=200, lr_drops=[3, 5]),
        run_of("singleshot", "synflow", {"density": 0.3}, prune_epochs=7), run_of("singleshot", "synflow", {"density": 0.05}),
        run_of("singleshot", "dense", {}, test_batch_size=9),
    ]  # fmt: skip
    cells = cells_of(one(suggested(*runs), "3 seeds"))
    assert len(cells) == 3 * (1 + 6)
    for cell in cells:
        (run,) = [r for r in runs if r["pruner"] == cell.pruner and r["density"] == cell.density]
        check(cell, run, seed=cell.seed, prune_epochs=with_rounds(cell).prune_epochs if cell.pruner == "dense" else run["prune_epochs"])


def test_a_command_is_exact_for_numbers_that_have_no_end():
    options = run_of("singleshot", "snip", {"compression": 1 / 3}, lr=1 / 7).options
    assert "--lr 0.14285714285714285" in command(options) and "--compression 0.333333333333333" in command(options)
    assert command(run_of("singleshot", "snip", {"density": 0.3}).options).endswith("--pruner snip --density 0.3")


def test_commands_of_missing_cells_run_as_printed(command):
    """The report of the runs with what the commands made misses none of these cells."""
    words = ["--experiment", "multishot", *TINY, "--pre-epochs", "1", "--level-list", "2", "--quantization", "--prune-amount"]
    assert command(*words, "0.5", "--pruner-list", "mag", "rand").status == command(*words, "0.2", "--pruner", "mag").status == 0
    for expected in (1, 0):
        found = collect(["Results/data"])
        items = [item for item in missing(found, groups(found), []) if "at compression" in item.what or "dense network" in item.what]
        assert len(items) == expected, items
        for item in items:
            assert command(*shlex.split(item.command)[2:]).status == 0
