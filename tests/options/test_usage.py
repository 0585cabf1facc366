"""The NOTE on options that no run of a command uses."""

from __future__ import annotations

import json

import pytest

from Utils.options.command_line import parse
from Utils.options.table import table
from Utils.options.usage import note_on_unused

RUN = ["--dataset", "synthetic:1x8x8:3:60"]
REGROW = ["--experiment", "regrow", "--run", "sparse", "--regrow-to", "0.5"]
# For each option, words that do not use it, and words that make the same command use it.
CASES = {
    "regrow_episodes": ([*REGROW, "--regrow-episodes", "3"], ["--regrow-allocation", "rl"]),
    "regrow_mini_epochs": ([*REGROW, "--regrow-mini-epochs", "2"], ["--regrow-allocation-list", "uniform", "rl"]),
    "regrow_score_batches": ([*REGROW, "--regrow-selection", "random", "--regrow-score-batches", "2"], ["--regrow-selection", "gradient"]),
    "regrow_ssim_batches": ([*REGROW, "--regrow-ssim-batches", "2"], ["--regrow-dense", "sparse/model.pt"]),
    "regrow_reference": ([*REGROW, "--regrow-reference", "sparse/model.pt"], ["--regrow-selection", "reference"]),
    "update_interval": ([*RUN, "--pruner", "rand", "--update-interval", "5"], ["--pruner", "set"]),
    "update_end_fraction": ([*RUN, "--update-end-fraction", "0.5"], ["--pruner", "rigl"]),
    "drop_fraction": ([*RUN, "--drop-fraction", "0.5"], ["--pruner-list", "rand", "rigl"]),
    "prune_epochs": ([*RUN, "--pruner", "dense", "--prune-epochs", "5"], ["--pruner", "mag"]),
    "compression_schedule": ([*RUN, "--compression-schedule", "linear"], ["--pruner", "synflow"]),
    "mask_scope": ([*RUN, "--pruner", "erk", "--mask-scope", "local"], ["--pruner", "mag"]),
    "mask_distribution": ([*RUN, "--pruner", "dense", "--mask-distribution", "erk"], ["--pruner", "mag"]),
    "prune_dataset_ratio": ([*RUN, "--prune-dataset-ratio", "5"], ["--pruner", "snip"]),
    "prune_batch_size": ([*RUN, "--prune-batch-size", "5"], ["--pruner", "grasp"]),
    "shuffle": ([*RUN, "--pruner", "dense", "--shuffle"], ["--pruner", "mag"]),
    "invert": ([*RUN, "--pruner", "dense", "--invert"], ["--pruner", "mag"]),
    "stack": ([*RUN, "--stack", "4"], ["--seed-list", "1", "2"]),
    "jobs": ([*RUN, "--jobs", "2"], ["--seed-list", "1", "2"]),
    "optimizer": ([*RUN, "--post-epochs", "0", "--optimizer", "sgd"], ["--post-epochs", "1"]),
    "lr": ([*RUN, "--post-epochs", "0", "--lr", "0.1"], ["--pre-epochs", "1"]),
    "lr_drops": ([*RUN, "--post-epochs", "0", "--lr-drops", "3"], ["--post-epochs", "1"]),
    "lr_drop_rate": ([*RUN, "--lr-drop-rate", "0.5"], ["--lr-drops", "3"]),
    "lr_schedule": ([*RUN, "--post-epochs", "0", "--lr-schedule", "cosine"], ["--post-epochs", "1"]),
    "lr_warmup": ([*RUN, "--post-epochs", "0", "--lr-warmup", "1"], ["--post-epochs", "1"]),
    "weight_decay": ([*RUN, "--post-epochs", "0", "--weight-decay", "0.1"], ["--post-epochs", "1"]),
    "checkpoint_every": ([*RUN, "--no-save", "--checkpoint-every", "1"], ["--no-save", "False"]),
    "overwrite": ([*RUN, "--no-save", "--overwrite"], ["--no-save", "False"]),
}  # fmt: skip


@pytest.fixture
def sparse(tmp_path, monkeypatch):
    """A folder that stands for a saved run without a dense network."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sparse").mkdir()
    (tmp_path / "sparse" / "model.pt").touch()
    (tmp_path / "sparse" / "args.json").write_text(json.dumps({"model": "fc", "model_class": "default", "dataset": "mnist", "pruner": "mag"}))


def note(*words):
    return note_on_unused(parse([str(word) for word in words]))


@pytest.mark.parametrize("option", CASES)
def test_an_option_that_no_run_uses_is_named(option, sparse):
    words, more = CASES[option]
    flag = "--" + option.replace("_", "-")
    assert f"{flag} (it is for " in note(*words) and note(*words).startswith("NOTE: no run of this command uses ")
    assert f"{flag} (" not in note(*words, *more)


def test_every_declaration_is_tried():
    assert set(CASES) == {option.name for option in table() if option.use}


def test_a_grid_uses_what_one_cell_uses(sparse):
    words = [*RUN, "--update-interval", "5", "--pruner-list", "rand"]
    assert "--update-interval" in note(*words) and note(*words, "set") == ""
    assert note(*RUN, "--pruner-list", "rand", "--stack", "4", "--launcher", "slurm") == "NOTE: no run of this command uses --stack (it is for grids that run here, without Slurm)"
    assert "--drop-fraction" in note(*RUN, "--for", "rand:drop-fraction=0.5")
    assert note(*RUN) == note(*RUN, "--jobs", "1", "--stack", "1", "--invert", "False", "--pruner", "dense") == ""


def test_the_note_is_printed_once_and_the_command_runs(command):
    done = command(*RUN, "--post-epochs", "0", "--update-interval", "5", "--lr-drop-rate", "0.5", "--no-save")
    assert done.status == 0 and done.out.splitlines()[0] == (
        "NOTE: no run of this command uses --lr-drop-rate (it is for runs with --lr-drops), --update-interval (it is for methods that move "
        "their masks in training)"
    )
    assert done.out.count("no run of this command uses") == 1
