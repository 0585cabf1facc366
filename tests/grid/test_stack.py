"""Cells of a grid at once in one process: their folders hold what they hold alone, whatever becomes of the others."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from Utils.base import turns
from Utils.base.errors import Terminated
from Utils.compute.graphs import draws_numbers
from Utils.grid.cell import Outcome
from Utils.grid.stack import Stack
from Utils.options.command_line import parse
from Utils.training import together as together_module
from Utils.training.phase import Training

DATA = ["--dataset", "synthetic:1x8x8:3:60", "--expid", "g"]
GRID = Path("Results/data/singleshot/g")
WORDS = [*DATA, "--model", "fc", "--pruner-list", "mag", "snip", "--compression-list", "0.5", "1", "--prune-epochs", "2",
         "--for", "mag:pre-epochs=3", "--pre-epochs", "0", "--post-epochs", "4", "--checkpoint-every", "1"]  # fmt: skip


def numbers(folder):
    """What a grid's cells came to: their networks, optimizers and tables, without seconds."""
    found = {}
    for path in sorted(folder.glob("*/*")):
        where = f"{path.parent.name}/{path.name}"
        if path.suffix == ".pt":
            found[where] = [str(value) for value in _leaves(torch.load(path, weights_only=True))]
        elif path.suffix == ".csv":
            found[where] = pd.read_csv(path).drop(columns="seconds", errors="ignore").to_csv()
    return found


def _leaves(value):
    if isinstance(value, torch.Tensor):
        return [value.numpy().tobytes()]
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [value] if not parts else [leaf for key, part in parts for leaf in (key, *_leaves(part))]


@pytest.fixture
def alone(command):
    assert command(*WORDS, "--result-dir", "alone").status == 0
    return numbers(Path("alone/singleshot/g"))


def test_a_stack_is_its_cells_alone_and_goes_on_after_an_interruption(command, alone, monkeypatch):
    """Two cells share a dense network, which one of them trains while the other waits. Interrupted in the third epoch."""
    sizes, real = [], together_module.train_chains
    monkeypatch.setattr(together_module, "train_chains", lambda passes: sizes.append(len(passes)) or real(passes))
    calls, train = [], Training._train

    def interrupted(self, model, epoch, share):
        calls.append((threading.current_thread() is threading.main_thread(), epoch))
        if len(calls) == 12:
            raise Terminated
        return train(self, model, epoch, share)

    monkeypatch.setattr(Training, "_train", interrupted)
    threads = threading.active_count()
    assert command(*WORDS, "--stack", "4").status == 143
    assert threading.active_count() == threads and not any(main for main, _ in calls) and max(sizes) == 4
    assert list(GRID.glob("*/checkpoint.bin")) and not list(GRID.rglob(".lock"))
    assert command(*WORDS, "--stack", "4").status == 0
    assert numbers(GRID) == alone
    assert max(sizes) == 4
    stacked = {path.parent.name: json.loads(path.read_text()).get("stack") for path in GRID.glob("*/summary.json")}
    assert set(stacked.values()) == {4}
    log = (GRID / "pruner=snip,compression=1" / "log.txt").read_text()
    assert "Going on after epoch" in log and log.count("Train results") == 1 and "mag" not in log
    assert "5 cells, 5 done" in command(*WORDS, "--stack", "1").out  # nothing is run again, whatever the stack


def test_a_run_without_others_names_no_stack(command):
    assert command(*DATA, "--model", "fc", "--post-epochs", "1", "--prune-epochs", "1", "--stack", "4").status == 0
    assert "stack" not in json.loads((GRID / "summary.json").read_text())


def test_processes_with_stacks(command, alone, quick_workers):
    assert command(*WORDS, "--jobs", "2", "--stack", "2").status == 0
    assert numbers(GRID) == alone


def test_a_cell_that_diverges_or_fails_leaves_the_others_alone(command):
    words = [*DATA, "--model", "fc", "--pruner-list", "rand", "snip", "--compression-list", "0.5", "--seed-list", "1", "2", "--post-epochs", "2"]
    assert command(*words, "--for", "snip:lr=1e30", "--stack", "8").status == 1
    grid = pd.read_csv(GRID / "grid.csv").set_index("cell")
    assert dict(grid["status"]) == {name: "failed" if "snip" in name else "done" for name in grid.index}
    assert grid["reason"].dropna().str.contains("diverged at epoch 1").all() and grid["status"].value_counts()["failed"] == 2


def test_cells_that_cannot_be_stacked_run_one_by_one(command):
    """One with moving masks, and a convolutional network, which a NOTE names."""
    words = ["--prune-epochs", "2", "--post-epochs", "1", "--stack", "3"]
    done = command(*DATA, "--model", "fc", "--pruner-list", "set", "rand", *words)
    assert done.status == 0 and "NOTE" not in done.out
    stacks = {path.parent.name: json.loads(path.read_text())["stack"] for path in GRID.glob("*/args.json")}
    assert stacks == {"pruner=dense": 3, "pruner=set": 1, "pruner=rand": 3}
    done = command(*DATA[:2], "--model", "conv", "--seed-list", "1", "2", *words)
    assert done.status == 0
    assert done.out.splitlines()[0].startswith("NOTE: --stack 3: on a CPU the cells of conv run one by one")


def test_networks_that_draw_are_told(tmp_path, monkeypatch):
    assert draws_numbers(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout()), (1, 2, 2))
    assert not draws_numbers(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(4)), (1, 2, 2))
    before = torch.get_rng_state()
    draws_numbers(torch.nn.Dropout(), (1, 2, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_a_stack_without_room_waits(monkeypatch):
    """On a card a further cell begins when those before have settled, and twice their mean use is free."""
    cell = parse([*DATA, "--seed-list", "1", "2"]).cells[0]
    stack = Stack(4, None)
    stack._turns = {"a": None, "b": None}
    monkeypatch.setattr("Utils.grid.stack.device_of", lambda options: torch.device("cuda", 0))
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 600)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 10_000))
    free = 601
    assert not stack._fits(cell.options)  # not settled
    stack._met = {"a": 3, "b": 3}
    assert stack._fits(cell.options)
    free = 600
    assert not stack._fits(cell.options)


@pytest.fixture
def small_stack(monkeypatch):
    """A function that runs cells a, b, ... in a stack of three: a name in capital letters takes no turns; returns what happened."""

    def run(names, work):
        said = []
        cells = [SimpleNamespace(name=n, options=replace(parse(DATA[:2]), model=n)) for n in names]

        def run_cell(options, _):
            said.append(options.model)
            outcome = work(options, said)
            said.append(f"{options.model} over")
            return outcome or Outcome("done")

        monkeypatch.setattr("Utils.grid.stack.run_cell", run_cell)
        monkeypatch.setattr("Utils.grid.stack.PAUSE", 0)
        stack = Stack(3, None)
        stack._stackable = lambda options: options.model.islower()
        outcomes = {cell.name: outcome.status for cell, outcome in stack.run(cells, lambda waiting, _: waiting[0])}
        return said, outcomes

    return run


def test_a_cell_without_turns_runs_when_no_other_has_begun(small_stack):
    """It would wait for the dense network that another one trains, which would wait for its turn."""
    said, outcomes = small_stack("aBcDe", lambda options, _: options.model.islower() and turns.pause() and None)
    assert set(outcomes.values()) == {"done"} and len(outcomes) == 5
    assert "e over" in said[:-4] and said[-4:] == ["B", "B over", "D", "D over"]


def test_who_runs_out_of_memory_beside_others_runs_again_alone(small_stack):
    def work(options, said):
        turns.pause()
        return Outcome("failed", "out of memory with --train-batch-size 64") if options.model != "a" and turns.among_others() else None

    said, outcomes = small_stack("abc", work)
    assert outcomes == {"a": "done", "b": "done", "c": "done"}
    assert said[-4:] == ["b", "b over", "c", "c over"]
    said, outcomes = small_stack("b", work)  # it was alone
    assert outcomes == {"b": "failed"}


def test_cells_that_begin_later_train_with_the_others(command, monkeypatch):
    """A dense training before makes other numbers of evaluations, and held-out images further ones."""
    sizes, real = [], together_module.train_chains
    monkeypatch.setattr(together_module, "train_chains", lambda passes: sizes.append(len(passes)) or real(passes))
    words = [*DATA, "--model", "fc", "--pruner-list", "rand", "snip", "--prune-epochs", "1", "--seed-list", "1", "2"]
    words += ["--val-fraction", "0.2", "--for", "rand:pre-epochs=1", "--for", "snip:post-epochs=5", "--post-epochs", "4"]
    assert command(*words, "--stack", "6").status == 0
    assert sizes == [6, 6, 6, 6, 4]  # two dense networks stop after four epochs


def test_an_abbreviation_keeps_its_meaning():
    assert parse(["--experiment", "trace", "--trace", "x", "--st", "3"]).step == 3
    assert parse([*DATA, "--seed-list", "1", "2", "--sta", "3"]).stack == 3
