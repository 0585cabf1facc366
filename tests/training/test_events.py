"""`--tensorboard`: the event files say what the run's tables say, go on where the run goes on, and change no number."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import PROJECT
from crash.numbers import differences, numbers
from killed import killed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from Models.masking import add_masks, apply_masks
from Utils.training.tensorboard import SCALARS, _counted, _is_due

RUN = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--pruner", "snip", "--compression", "0.5", "--post-epochs", "3",
       "--checkpoint-every", "1"]  # fmt: skip
FOLDER = Path("Results/data/singleshot/t")


def events(folder):
    log = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    log.Reload()
    return log


def scalars(log, phase):
    return {name: {e.step: e.value for e in log.Scalars(f"{phase}/{name}")} for name in SCALARS if f"{phase}/{name}" in log.Tags()["scalars"]}


def check(folder, phase="post_train", before=0, rows=None):
    """All scalars of a phase are those of its table, and no step stands twice."""
    log = events(folder)
    rows = pd.read_csv(folder / f"{phase.replace('_', '-')}.csv") if rows is None else rows
    for name in SCALARS:
        wanted = rows.set_axis(rows.index + before)[name].dropna()
        found = scalars(log, phase).get(name, {})
        assert found.keys() == set(wanted.index) and np.allclose([found[i] for i in wanted.index], wanted, rtol=1e-6)
        assert not found or len(log.Scalars(f"{phase}/{name}")) == len(found)
    return log


def test_scalars_are_those_of_the_tables_and_nothing_else_changes(command):
    assert command(*RUN, "--pre-epochs", "2", "--expid", "plain", "--result-dir", "elsewhere").status == 0
    assert command(*RUN, "--pre-epochs", "2", "--expid", "t", "--tensorboard").status == 0
    check(FOLDER, "pre_train")
    log = check(FOLDER, before=2)
    for phase, steps in (("pre_train", [0, 1, 2]), ("post_train", [2, 3, 4, 5])):
        names = [tag for tag in log.Tags()["histograms"] if tag.startswith(phase)]
        assert len(names) == 6 and all([e.step for e in log.Histograms(tag)] == steps for tag in names)
    one, other = numbers(Path("elsewhere/singleshot/plain")), numbers(FOLDER)
    assert not differences(one, other)
    assert not any("tensorboard" in name for name in json.loads((FOLDER / "summary.json").read_text())["files"])
    compression = pd.read_csv(FOLDER / "compression.csv").query("prunable").set_index("module")["kept"]
    for module, kept in compression.items():
        assert {e.histogram_value.num for e in log.Histograms(f"post_train_weights/{module}")} == {kept}
    assert "Already done" in command(*RUN, "--pre-epochs", "2", "--expid", "t").out  # the flag makes no other run


def test_a_histogram_by_hand_leaves_pruned_weights_out(linear_net):
    prunables = add_masks(linear_net)
    prunables[1].mask.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    apply_masks(prunables)
    found = _counted(prunables[1])
    assert (found["num"], found["min"], found["max"], found["sum"], found["sum_squares"]) == (2, 5, 7, 12, 74)
    filled = {round(limit, 6): n for limit, n in zip(found["bucket_limits"], found["bucket_counts"], strict=True) if n}
    assert sum(filled.values()) == 2 and filled[7] == 1 and all(abs(limit) > 0.3 for limit in filled)
    prunables[0].weight.data[0, 0] = torch.nan
    assert _counted(prunables[0])["num"] == 3
    prunables[1].mask.zero_()
    assert _counted(prunables[1]) is None


def test_histograms_stand_at_both_ends_and_a_tenth_apart():
    assert [e for e in range(161) if _is_due(e, 0, 160)] == [*range(0, 161, 16)]
    assert [e for e in range(2, 26) if _is_due(e, 2, 25)] == [2, 3, 6, 9, 12, 15, 18, 21, 24, 25]
    assert _is_due(0, 0, 0)


def test_a_killed_run_goes_on_in_its_events(command):
    words = [*RUN, "--pre-epochs", "2", "--tensorboard", "--expid", "t"]
    for epochs in (1, 2, 1):  # in dense training, then twice after pruning
        killed(words, epochs)
    assert command(*words).status == 0 and len(list((FOLDER / "tensorboard").iterdir())) > 1
    check(FOLDER, "pre_train")
    log = check(FOLDER, before=2)
    assert [e.step for e in log.Histograms("post_train_weights/1")] == [2, 3, 4, 5]


def test_what_was_written_after_the_checkpoint_is_dropped(command):
    words = [*RUN, "--post-epochs", "4", "--tensorboard", "--expid", "t"]
    killed([*words, "--checkpoint-every", "2"], 3)
    assert max(scalars(events(FOLDER), "post_train")["lr"]) == 3
    done = command(*words)
    assert done.status == 0 and "Going on after epoch 2 of 4" in done.out
    check(FOLDER)


def test_a_flag_given_later_shows_the_phase_that_runs(command):
    killed([*RUN, "--expid", "t"], 2)
    assert command(*RUN, "--expid", "t", "--tensorboard").status == 0
    check(FOLDER)


def test_dense_training_from_the_cache_is_shown_too(command):
    for seed_of in ("rand", "snip"):
        assert command(*RUN, "--pre-epochs", "2", "--pruner", seed_of, "--expid", seed_of, "--tensorboard").status == 0
    log = check(Path("Results/data/singleshot/snip"), "pre_train")
    assert [e.step for e in log.Histograms("pre_train_weights/1")] == [2]  # the network before it is no more


def test_levels_follow_each_other(command):
    words = [*RUN, "--experiment", "multishot", "--level-list", "2", "--pre-epochs", "2", "--rewind-epoch", "1", "--expid", "m", "--tensorboard"]
    assert command(*words).status == 0
    folder = next(path for path in Path("Results/data/multishot/m").iterdir() if path.name.startswith("level"))
    rows = pd.read_csv(folder / "pre-train.csv")
    log = events(folder)
    found = [(e.step, e.value) for e in log.Scalars("pre_train/test_loss")]
    assert [step for step, _ in found] == [0, 1, 2, 2, 3] and np.allclose([value for _, value in found], rows["test_loss"])
    check(folder, before=3)


def test_a_new_start_clears_the_events_and_a_refused_run_has_none(command, refused):
    words = [*RUN, "--tensorboard", "--expid", "t"]
    assert command(*words).status == 0
    (FOLDER / "tensorboard/notes.txt").write_text("mine")
    first = {file.name for file in (FOLDER / "tensorboard").iterdir()}
    assert command(*words, "--overwrite").status == 0
    assert {file.name for file in (FOLDER / "tensorboard").iterdir()} & first == {"notes.txt"}
    check(FOLDER)
    refused([*words, "--compression", "20", "--expid", "u"], "keeps none")
    refused(["--experiment", "prune", "--tensorboard"], "--tensorboard is not read by --experiment prune")


def test_nothing_is_written_without_the_flag(command):
    assert command(*RUN, "--expid", "t").status == 0 and not (FOLDER / "tensorboard").exists()


def test_a_diverged_run_shows_its_last_row(command):
    assert command(*RUN, "--optimizer", "sgd", "--lr", "1e38", "--tensorboard", "--expid", "t").status == 1
    rows = pd.read_csv(FOLDER / "post-train.csv")
    assert max(scalars(events(FOLDER), "post_train")["lr"]) == rows["epoch"].max()


@pytest.mark.parametrize("more", [[], ["--seed-list", "1", "2"]])
def test_refused_without_the_package(refused, monkeypatch, more):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else real(name, *rest))
    refused([*RUN, "--tensorboard", *more], "--tensorboard", "pip install -r requirements-tensorboard.txt")
    assert "tensorboard" in (PROJECT / "requirements-tensorboard.txt").read_text()
