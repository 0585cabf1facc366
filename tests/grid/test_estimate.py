"""The time that runs still take: what is counted, how it is measured, and that measuring leaves no trace."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from Utils.data.open_set import Datasets
from Utils.grid import estimate as module
from Utils.grid import print_estimate as printing
from Utils.grid.estimate import DENSE, EPOCHS, EVALUATIONS, INFERENCE, SCORING, WRITING, estimate
from Utils.grid.grid_folder import State
from Utils.grid.step_times import Costs
from Utils.options.command_line import parse
from Utils.training.together import Answer

WORDS = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "3", "--train-batch-size", "20", "--test-batch-size", "4", "--expid", "g"]
STEP, TEST, SCORE = 2.0, 0.5, 7.0
# 60 training images: 3 steps of 2 s; 12 test images: 3 batches of 0.5 s.
EPOCH, PASS = 3 * STEP, 3 * TEST
MEASURED = 2 * 2 * PASS + 70 * TEST  # of inference: after 2 passes of both networks, 6 s, no other one begins


@pytest.fixture
def timed(monkeypatch):
    """Every step takes 2 s, every test batch half a second, every round 7, all else nothing; returns what was timed."""
    networks, methods = [], []
    monkeypatch.setattr(module, "step_costs", lambda masked, *_: (networks.append(masked.options.model), Costs(STEP, TEST))[1])
    monkeypatch.setattr(module, "round_cost", lambda masked, pruner, _: (methods.append(masked.options.pruner), SCORE if masked.options.pruner == "synflow" else 0.0)[1])
    monkeypatch.setattr(module, "_read", lambda *_: None)
    return networks, methods


def left(*words):
    return estimate(list(parse([*WORDS, *words]).cells), Datasets())


def test_epochs_rounds_and_inference_by_hand(timed):
    found = left("--pruner-list", "synflow", "rand", "--compression-list", "1", "2")
    # Five cells with the dense one; each evaluates before pruning, before training and after each of 3 epochs.
    assert found.parts == {EPOCHS: 5 * 3 * EPOCH, EVALUATIONS: 5 * 5 * PASS, SCORING: 200 * SCORE, INFERENCE: 5 * MEASURED, WRITING: 0}
    assert found.longest == 3 * EPOCH + 5 * PASS + MEASURED + 100 * SCORE
    assert timed == (["fc"], ["dense", "synflow", "rand"]) and len(found.measured) == 1 and not found.unknown


def test_dense_training_counts_once_for_each_seed(timed):
    found = left("--pruner-list", "mag", "--compression-list", "1", "2", "--seed-list", "1", "2", "--for", "mag:pre-epochs=10")
    assert found.parts[DENSE] == 2 * (10 * EPOCH + 11 * PASS)


def test_the_levels_of_multishot(timed):
    words = ["--experiment", "multishot", "--pruner", "mag", "--compression", "1", "--level-list", "2", "--pre-epochs", "4", "--rewind-epoch", "1"]
    found = left(*words)
    # Two levels train 3 epochs of 4 and 2 of 3, from epoch 1 on, and evaluate before each; the cell of one level 2 of 3.
    assert found.parts[DENSE] == 4 * EPOCH + 5 * PASS
    assert found.parts[EPOCHS] == (3 + 2 + 2) * EPOCH and found.parts[EVALUATIONS] == (4 + 3 + 3) * PASS


def test_each_network_is_measured_once(timed):
    found = estimate(list(parse([w for w in WORDS if w not in ("--model", "fc")] + ["--model-list", "fc", "conv", "--compression-list", "1", "2"]).cells), Datasets())
    assert timed[0] == ["fc", "conv"] and len(found.measured) == 2


def test_what_is_finished_does_not_count(timed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--pruner-list", "synflow", "--compression", "1", "--for", "synflow:pre-epochs=10"]
    folder = Path("Results/data/singleshot/g/pruner=synflow")
    whole = left(*words)
    folder.mkdir(parents=True)
    (folder / "pre-train.csv").write_text("epoch,top1_accuracy,seconds\n0,1,0\n1,1,1\n2,1,1\n3,1,1\n")
    some = left(*words)
    assert whole.parts[DENSE] - some.parts[DENSE] == 3 * (EPOCH + PASS) and some.parts[SCORING] == 100 * SCORE
    (folder / "pre-train.csv").write_text("epoch,top1_accuracy,seconds\n" + "".join(f"{epoch},1,1\n" for epoch in range(11)))
    (folder / "post-train.csv").write_text("epoch,top1_accuracy,seconds\n0,1,0\n1,1,1\n2,1,1\n")
    more = left(*words)
    assert whole.parts[EPOCHS] - more.parts[EPOCHS] == 2 * EPOCH and more.parts[SCORING] == 0


def test_measuring_leaves_generator_threads_and_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("Utils.grid.stopwatch.ENOUGH", 0.0)
    monkeypatch.setattr(module.Stopwatch, "left", 5.0)  # however slow this machine is
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    found = left("--pruner-list", "snip", "synflow", "grasp", "--compression", "1", "--quantization")
    assert found.total > found.longest > 0 and not found.unknown and "mixed precision" in found.measured[0]
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads and not list(tmp_path.iterdir())


def test_cells_that_are_trained_at_once_are_timed_at_once(monkeypatch):
    monkeypatch.setattr("Utils.grid.stopwatch.ENOUGH", 0.0)
    monkeypatch.setattr(module.Stopwatch, "left", 5.0)
    sizes = []
    monkeypatch.setattr("Utils.grid.step_times.together", lambda passes: (sizes.append(len(passes)), [Answer() for _ in passes])[1])
    found = left("--pruner-list", "rand", "snip", "--compression", "1", "--stack", "2")  # with the dense one three cells
    assert set(sizes) == {2} and "of one of 2 cells at once" in found.measured[0] and not found.unknown


def test_workers_and_the_longest_cell_bound_what_jobs_save(timed, capsys, monkeypatch):
    monkeypatch.setattr(printing, "_cpus", lambda: 2)
    monkeypatch.setattr(printing, "load_average", lambda: 0.0)
    monkeypatch.setattr(printing.time, "thread_time", lambda: 3.0)
    plan = parse([*WORDS, "--pruner-list", "synflow", "--compression", "1", "--jobs", "2", "--no-cuda"])
    states = {cell.name: State("pending") for cell in plan.cells}
    printing.print_estimate(plan, states, Datasets())
    # The longest cell takes 18 + 7.5 + 41 + 700 = 766.5 s, the dense one 66.5; this process and the workers begin for 3 s each.
    assert "about 12:52 (13:53 of computing, 2 at a time)" in capsys.readouterr().out
    printing.print_estimate(replace(plan, launcher="slurm"), states, Datasets())
    assert "not estimated" in capsys.readouterr().out


def test_a_busy_machine_gets_a_range(timed, capsys, monkeypatch):
    monkeypatch.setattr(printing, "_cpus", lambda: 4)
    monkeypatch.setattr(printing, "cores", lambda: 4)
    monkeypatch.setattr(printing.time, "thread_time", lambda: 3.5)
    monkeypatch.setattr(module.Stopwatch, "share_of_core", 0.5)
    options = parse([*WORDS, "--pruner", "rand", "--compression", "1"])
    for load, line in ((2.0, "between 1:10 and 2:20: the machine is busy now"), (0.1, "about 2:20\n"), (None, "about 2:20\n")):
        monkeypatch.setattr(printing, "load_average", lambda load=load: load)
        printing.print_estimate_of_run(options)
        assert f"Time left: {line}" in capsys.readouterr().out  # 3.5 + 18 + 7.5 + 41 s


def test_single_runs(command, timed):
    done = command(*WORDS, "--pruner", "rand", "--compression", "1", "--dry-run")
    assert done.status == 0 and done.out.startswith("Results/data/singleshot/g: pending\n") and "Time left: " in done.out
    done = command("--experiment", "prune", "--dataset", "cifar10", "--data-dir", "nowhere", "--pruner", "synflow", "--compression", "1", "--dry-run")
    assert done.status == 0 and "scoring 11:40" in done.out and EPOCHS not in done.out
    assert not Path("Results").exists()


def test_other_experiments_are_not_estimated(capsys):
    printing.print_estimate_of_run(replace(parse([*WORDS, "--pruner", "rand", "--compression", "1"]), experiment="regrow"))
    assert capsys.readouterr().out == "Time left: not estimated for --experiment regrow\n"


def test_data_that_is_missing_or_slow_to_read_is_named(command, monkeypatch):
    monkeypatch.setattr(module, "step_costs", lambda *_: Costs(STEP, TEST))
    monkeypatch.setattr(module, "round_cost", lambda *_: 0.0)
    words = ["--model", "fc", "--pruner", "rand", "--compression", "1", "--post-epochs", "1", "--dry-run"]
    done = command("--dataset", "cifar10", "--data-dir", "nowhere", *words)
    assert done.status == 0 and "reading cifar10 is not counted: it is not there yet" in done.out
    monkeypatch.setattr(module, "READING", 0.05)
    monkeypatch.setattr("Utils.data.dataset.Dataset.load", lambda self: time.sleep(5))
    done = command("--dataset", "synthetic:1x8x8:3:60", *words)
    assert done.status == 0 and "reading synthetic:1x8x8:3:60 is not counted: it takes more than 0.05 s" in done.out


def test_a_network_that_cannot_be_measured_is_named(command):
    Path("mine.py").write_text("from torch import nn\nclass N(nn.Sequential):\n    def forward(self, x):\n        assert not self.training, 'no\\nluck'\n        return super().forward(x)\n"
                               "def net(s, c):\n    return N(nn.Flatten(), nn.Linear(64, c))\n")  # fmt: skip
    words = [w if w != "fc" else "mine.py:net" for w in WORDS]
    done = command(*words, "--seed-list", "1", "--dry-run")
    assert done.status == 0 and "seed=1: could not be measured (AssertionError: no luck)" in done.out and "Time left" not in done.out
    assert not Path("Results").exists()


def test_a_method_that_cannot_be_scored_leaves_the_others_known(timed, monkeypatch):
    def score(masked, pruner, _):
        if masked.options.pruner == "snip":
            raise ValueError("no\nscores")
        return 0.0

    monkeypatch.setattr(module, "round_cost", score)
    found = left("--pruner-list", "snip", "rand", "synflow", "--compression-list", "1", "2")
    assert found.unknown == {f"pruner=snip,compression={c}": "ValueError: no scores" for c in (1, 2)}
    assert found.parts[EPOCHS] == 5 * 3 * EPOCH


def test_the_seconds_of_measuring_end(monkeypatch):
    monkeypatch.setattr(module.Stopwatch, "left", -1.0)
    found = left("--pruner-list", "rand", "--compression", "1")
    assert not found.parts and set(found.unknown.values()) == {"the 10 s of measuring were over"}


def test_a_folder_that_takes_long_to_open_ends_the_estimate(command, monkeypatch):
    monkeypatch.setattr(module.Stopwatch, "left", 0.05)
    monkeypatch.setattr("Utils.data.open_set._open_whole", lambda *_: time.sleep(5))
    done = command("--dataset", "folder:images", "--model", "fc", "--pruner", "rand", "--compression", "1", "--dry-run")
    assert done.status == 0 and "could not be measured (it takes more than 0.05 s)" in done.out and "Time left" not in done.out
