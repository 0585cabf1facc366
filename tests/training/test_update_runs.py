"""Runs whose masks move in training: what they write, kills, flags, and where they are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from killed import killed
from trained import trained

from Models import registry
from Models.masking import add_masks
from Pruners._shared.distributions import DISTRIBUTIONS
from Pruners._shared.scopes import layers_of
from tests.crash.numbers import numbers, same
from Utils.runs import outputs

SMALL = ["--dataset", "synthetic:1x8x8:3:200", "--model", "fc", "--density", "0.2", "--train-batch-size", "10", "--update-interval", "5",
         "--post-epochs", "3", "--lr", "0.01"]  # fmt: skip


def run(command, name, *words):
    done = command(*SMALL, "--expid", name, *words)
    assert done.status == 0, done.err
    return Path("Results/data/singleshot", name), done.out


@pytest.mark.parametrize("pruner", ["set", "rigl"])
@pytest.mark.parametrize("distribution", ["erk", "uniform"])
def test_a_run(command, pruner, distribution):
    """60 steps, T_end = 45: updates after 5, 10, ... 40. The tables count the masks at the end."""
    folder, out = run(command, "x", "--pruner", pruner, *(["--mask-distribution", "uniform"] if distribution == "uniform" else []))
    rows = pd.read_csv(folder / "updates.csv", dtype={"module": str})
    assert sorted(set(rows["step"])) == list(range(5, 45, 5)) and (rows["epoch"] == (rows["step"] + 19) // 20).all()
    table = pd.read_csv(folder / "compression.csv", dtype={"module": str}).query("prunable").set_index("module")
    state = torch.load(folder / "model.pt", weights_only=True)
    for name, count in table["kept"].items():
        mask = state[f"{name}.weight_mask"]
        assert int(mask.sum()) == count and set(rows[rows["module"] == name]["active"]) == {count}
        assert not state[f"{name}.weight"][mask == 0].any() and state[f"{name}.weight"].any()
        assert table["score_sum"][name] == pytest.approx(float(state[f"{name}.weight"].double().abs().sum()))
    net = registry.build("fc", "default", (1, 8, 8), 3)
    layers = layers_of(add_masks(net))
    assert table["kept"].tolist() == DISTRIBUTIONS[distribution].budgets(layers, sum(table["kept"]))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["mask_updates"] == 8 and 0.2 < summary["explored"] <= 0.2 + rows["grown"].sum() / sum(x.size for x in layers)
    assert "Masks: moved 8 times" in out and "Masks: moved 8 times" in command(*SMALL, "--expid", "x", "--pruner", pruner, *(
        ["--mask-distribution", "uniform"] if distribution == "uniform" else [])).out  # fmt: skip


def test_they_begin_with_the_masks_of_rand_and_differ_from_it(command):
    ends = {}
    for pruner in ("rand", "set", "rigl"):
        folder, _ = run(command, pruner, "--pruner", pruner, "--mask-distribution", "erk", "--pre-epochs", "1")
        ends[pruner] = torch.load(folder / "model.pt", weights_only=True)
        rows = pd.read_csv(folder / "post-train.csv")
        ends[pruner]["start"] = torch.tensor(rows["test_loss"][0])
    assert ends["rand"]["start"] == ends["set"]["start"] == ends["rigl"]["start"]
    masks = [k for k in ends["rand"] if k.endswith("_mask")]
    for a, b in (("rand", "set"), ("rand", "rigl"), ("set", "rigl")):
        assert not all(torch.equal(ends[a][k], ends[b][k]) for k in masks)
        assert all(ends[a][k].sum() == ends[b][k].sum() for k in masks)


@pytest.mark.parametrize("pruner", ["set", "rigl"])
def test_a_killed_run_ends_with_the_same_masks(command, pruner):
    words = [*SMALL, "--pruner", pruner, "--optimizer", "adam", "--checkpoint-every", "1", "--val-fraction", "0.2", "--patience", "9"]
    assert command(*words, "--expid", "x", "--result-dir", "elsewhere").status == 0
    killed([*words, "--expid", "x"], 1)
    assert "Going on after epoch 1 of 3" in command(*words, "--expid", "x").out
    same(numbers(Path("elsewhere/singleshot/x")), numbers(Path("Results/data/singleshot/x")))


def test_a_kill_in_the_last_measurements_does_not_cost_the_training(command, monkeypatch):
    """The table of the masks at the end is in the folder by then; the checkpoint is of before."""
    words = [*SMALL, "--pruner", "set", "--checkpoint-every", "1", "--expid", "x"]

    def killed_here(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "inference_times", killed_here)
        assert command(*words).status == 130
    done = command(*words)
    assert done.status == 0 and "Going on after epoch 2 of 3" in done.out and "starts over" not in done.out, done
    assert command(*words).status == 0


def test_the_same_seed_moves_the_same_masks_and_another_others(command):
    states = [torch.load(run(command, str(i), "--pruner", "set", "--seed", seed)[0] / "model.pt", weights_only=True)
              for i, seed in enumerate([1, 1, 2])]  # fmt: skip
    assert all(torch.equal(t, states[1][k]) for k, t in states[0].items())
    assert not all(torch.equal(t, states[2][k]) for k, t in states[0].items())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The network without any of the flags."""
    folder = trained(tmp_path_factory, [*SMALL, "--pruner", "rigl", "--expid", "plain"])
    return torch.load(folder / "Results/data/singleshot/plain/model.pt", weights_only=True)


@pytest.mark.parametrize("flags", [["--update-interval", "7"], ["--update-end-fraction", "0.5"], ["--drop-fraction", "0.6"]], ids=" ".join)
def test_every_flag_changes_the_masks(command, plain, flags):
    changed = torch.load(run(command, "changed", "--pruner", "rigl", *flags)[0] / "model.pt", weights_only=True)
    assert not all(torch.equal(t, changed[k]) for k, t in plain.items() if k.endswith("_mask"))


def test_a_training_too_short_for_an_update_says_so(command):
    _, out = run(command, "x", "--pruner", "set", "--update-interval", "45")
    assert "NOTE: the masks stay: --update-interval 45" in out and "Masks: moved 0 times" in out


@pytest.mark.parametrize(("words", "parts"), [
    (["--compact"], ["--pruner rigl", "--compact"]),
    (["--experiment", "multishot", "--level-list", "2"], ["--pruner rigl", "multishot"]),
    (["--experiment", "prune", "--update-interval", "3"], ["--update-interval", "singleshot"]),
    (["--seed-list", "1", "2", "--compact"], ["cell", "--pruner rigl"]),
    (["--drop-fraction", "0"], ["--drop-fraction", "above 0"]), (["--update-end-fraction", "1.1"], ["up to 1"]),
])  # fmt: skip
def test_refusals(refused, words, parts):
    refused(["--dataset", "synthetic:1x8x8:3:60", "--pruner", "rigl", "--density", "0.2", *words], *parts)


def test_elsewhere_they_are_random_masks(command):
    words = ["--experiment", "prune", "--dataset", "cifar10", "--model", "resnet20", "--density", "0.1", "--expid"]
    kept = []
    for name in ("set", "rigl", "rand"):
        assert command(*words, name, "--pruner", name, *(["--mask-distribution", "erk"] if name == "rand" else [])).status == 0
        kept.append(torch.load(f"Results/data/prune/{name}/model.pt", weights_only=True))
    assert all(torch.equal(t, kept[1][k]) and torch.equal(t, kept[2][k]) for k, t in kept[0].items())
