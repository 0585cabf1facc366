"""The time that a grid still takes: what is counted, and that measuring leaves no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from Utils.data.open_set import Datasets
from Utils.grid import estimate as module
from Utils.grid.estimate import estimate
from Utils.grid.grid_folder import State
from Utils.options.command_line import parse

WORDS = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "3", "--train-batch-size", "20", "--test-batch-size", "4", "--expid", "g"]
STEP, TEST, SCORE = 2.0, 0.5, 7.0
# 60 training images: 3 steps; 12 test images: 3 batches, a pass of 1.5 s; an epoch and its evaluation: 7.5 s.
EPOCH, PASS = 3 * STEP + 3 * TEST, 3 * TEST
INFERENCE = min(10 * PASS, 5 + 2 * PASS) + 70 * TEST


@pytest.fixture
def timed(monkeypatch):
    """Every step takes 2 s, every test batch half a second, every scoring pass 7; returns the networks and methods timed."""
    networks, methods = [], []
    monkeypatch.setattr(module, "_train_and_test", lambda masked: (networks.append(masked.options.model), (STEP, TEST))[1])
    monkeypatch.setattr(module, "_score", lambda masked, pruner: (methods.append(masked.options.pruner), SCORE if masked.options.pruner == "synflow" else 0.0)[1])
    return networks, methods


def left(*words):
    return estimate(list(parse([*WORDS, *words]).cells), Datasets())


def test_epochs_rounds_and_inference_by_hand(timed):
    found = left("--pruner-list", "synflow", "rand", "--compression-list", "1", "2")
    one = 3 * EPOCH + 2 * PASS + INFERENCE
    assert found.total == pytest.approx(5 * one + 2 * 100 * SCORE) and found.longest == pytest.approx(one + 100 * SCORE)
    assert timed == (["fc"], ["dense", "synflow", "rand"]) and len(found.measured) == 1 and not found.unknown


def test_dense_training_counts_once_for_each_seed(timed):
    found = left("--pruner-list", "mag", "--compression-list", "1", "2", "--seed-list", "1", "2", "--for", "mag:pre-epochs=10")
    one = 3 * EPOCH + 2 * PASS + INFERENCE
    assert found.total == pytest.approx(6 * one + 2 * 10 * EPOCH) and found.longest == pytest.approx(one + 10 * EPOCH)


def test_each_network_is_measured_once(timed):
    found = estimate(list(parse([w for w in WORDS if w not in ("--model", "fc")] + ["--model-list", "fc", "conv", "--compression-list", "1", "2"]).cells), Datasets())
    assert timed[0] == ["fc", "conv"] and len(found.measured) == 2


def test_finished_epochs_do_not_count(timed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = left("--seed-list", "1").total
    folder = Path("Results/data/singleshot/g/seed=1")
    folder.mkdir(parents=True)
    (folder / "post-train.csv").write_text("epoch,top1_accuracy,seconds\n0,1,0\n1,1,1\n2,1,1\n")
    assert whole - left("--seed-list", "1").total == pytest.approx(2 * EPOCH)


def test_measuring_leaves_generator_and_threads_alone():
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    found = left("--pruner-list", "snip", "synflow", "grasp", "--compression", "1", "--quantization")
    assert found.total > found.longest > 0 and not found.unknown and "mixed precision" in found.measured[0]
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_the_longest_cell_bounds_what_jobs_save(timed, capsys):
    plan = parse([*WORDS, "--pruner-list", "synflow", "--compression", "1", "--jobs", "2", "--no-cuda"])
    states = {cell.name: State("pending") for cell in plan.cells}
    module.print_estimate(plan, states, Datasets())
    assert "about 12:48 (13:57 of computing, 2 at a time)" in capsys.readouterr().out  # 768.5 s and 68.5 s; not 837 / 2
    module.print_estimate(replace(plan, launcher="slurm"), states, Datasets())
    assert "not estimated" in capsys.readouterr().out


def test_a_network_that_cannot_be_measured_is_named(command):
    Path("mine.py").write_text("from torch import nn\nclass N(nn.Sequential):\n    def forward(self, x):\n        assert not self.training, 'no\\nluck'\n        return super().forward(x)\n"
                               "def net(s, c):\n    return N(nn.Flatten(), nn.Linear(64, c))\n")  # fmt: skip
    words = [w if w != "fc" else "mine.py:net" for w in WORDS]
    done = command(*words, "--seed-list", "1", "--dry-run")
    assert done.status == 0 and "seed=1: could not be measured (AssertionError: no luck)" in done.out and "Time left" not in done.out
    assert not Path("Results").exists()


def test_a_method_that_cannot_be_scored_leaves_the_others_known(timed, monkeypatch):
    def score(masked, pruner):
        if masked.options.pruner == "snip":
            raise ValueError("no\nscores")
        return 0.0

    monkeypatch.setattr(module, "_score", score)
    found = left("--pruner-list", "snip", "rand", "synflow", "--compression-list", "1", "2")
    assert found.unknown == {f"pruner=snip,compression={c}": "ValueError: no scores" for c in (1, 2)}
    assert found.total == pytest.approx(5 * (3 * EPOCH + 2 * PASS + INFERENCE))


def test_epochs_of_an_unfinished_dense_training_do_not_count(timed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--pruner-list", "mag", "--compression", "1", "--for", "mag:pre-epochs=10"]
    whole = left(*words).total
    folder = Path("Results/data/singleshot/g/pruner=mag")
    folder.mkdir(parents=True)
    (folder / "pre-train.csv").write_text("epoch,top1_accuracy,seconds\n0,1,0\n1,1,1\n2,1,1\n3,1,1\n")
    assert whole - left(*words).total == pytest.approx(3 * EPOCH)
