"""Masks that move in training: counts of every update, what goes and what comes, by hand; kills; where they are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import killed
from torch import nn
from trained import trained

import Pruners
from Models import registry
from Models.masking import add_masks, apply_masks
from Pruners._shared.distributions import DISTRIBUTIONS
from Pruners._shared.dynamics import DropAndGrow, GradientGrowth, RandomGrowth
from Pruners._shared.scopes import layers_of
from Pruners._shared.updates import MaskUpdates
from tests.crash.numbers import numbers, same
from Utils.runs import outputs
from Utils.training.optimizers import make_optimizer

SMALL = ["--dataset", "synthetic:1x8x8:3:200", "--model", "fc", "--density", "0.2", "--train-batch-size", "10", "--update-interval", "5",
         "--post-epochs", "3", "--lr", "0.01"]  # fmt: skip


def by_hand():
    """y = W2 W1 x with W1 = [[1, -2, 0, 0], [3, 0, 0, -4]] and W2 = [[5, -6], [0, 7]]; Adam's averages are all 1."""
    net = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 2, bias=False))
    prunables = add_masks(net)
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -2.0, 0, 0], [3.0, 0, 0, -4.0]]))
        net[1].weight.copy_(torch.tensor([[5.0, -6.0], [0, 7.0]]))
        for p in prunables:
            p.mask.copy_(p.weight != 0)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.0)
    for p in net.parameters():
        optimizer.state[p] = {"step": torch.tensor(1.0), "exp_avg": torch.ones_like(p), "exp_avg_sq": torch.ones_like(p)}
    return net, prunables, optimizer


def test_an_update_of_rigl_by_hand():
    """L = sum y for x = (1, 2, 3, 9): dL/dW1 = (5, 1) x, dL/dW2 = W1 x per row. Of 4 weights f = 1/2 drops 1 and -2."""
    net, prunables, optimizer = by_hand()
    net(torch.tensor([[1.0, 2.0, 3.0, 9.0]])).sum().backward()
    assert net[0].weight.grad.tolist() == [[5, 10, 15, 45], [1, 2, 3, 9]]
    updates = MaskUpdates(prunables, DropAndGrow(GradientGrowth(), 1, 2 / 3, 1.0), 1, steps=3, steps_per_epoch=3)
    assert updates.fraction(1) == pytest.approx(0.5)
    updates.after_step(1, optimizer)
    assert net[0].weight_mask.tolist() == [[0, 0, 1, 1], [1, 0, 0, 1]] and net[0].weight.tolist() == [[0, 0, 0, 0], [3, 0, 0, -4]]
    kept = optimizer.state[net[0].weight]
    assert kept["exp_avg"].tolist() == kept["exp_avg_sq"].tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]] and kept["step"] == 1
    assert net[1].weight_mask.tolist() == [[0, 1], [1, 1]] and net[1].weight.tolist() == [[0, -6], [0, 7]]  # one of 3, only one is free
    assert optimizer.state[net[1].weight]["exp_avg"].tolist() == [[0, 1], [0, 1]]
    assert updates.table()[["step", "epoch", "module", "active", "dropped", "grown"]].values.tolist() == [
        [1, 1, "0", 4, 2, 2], [1, 1, "1", 3, 1, 1]]  # fmt: skip
    assert updates.summary() == {"mask_updates": 1, "explored": 10 / 12}


def test_equal_magnitudes_go_from_the_end_and_equal_gradients_come_from_the_start():
    net, prunables, optimizer = by_hand()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0, -2.0, 0, 0], [2.0, 0, 0, -2.0]]))
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    MaskUpdates(prunables, DropAndGrow(GradientGrowth(), 1, 2 / 3, 1.0), 1, steps=3, steps_per_epoch=3).after_step(1, optimizer)
    assert net[0].weight_mask.tolist() == [[1, 1, 1, 1], [0, 0, 0, 0]]


def test_when_masks_move():
    """f falls as a cosine from a; updates every third step before T_end = 9."""
    _, prunables, _ = by_hand()
    updates = MaskUpdates(prunables, DropAndGrow("random", 3, 0.3, 0.75), 1, steps=12, steps_per_epoch=4)
    assert [t for t in range(1, 13) if updates.due(t)] == [3, 6]
    assert [updates.fraction(t) for t in (0, 3, 4.5, 9)] == pytest.approx([0.3, 0.225, 0.15, 0])
    with pytest.raises(ValueError, match="'best': choose from random, gradient"):
        DropAndGrow("best")


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["random", "gradient"]), st.floats(0.02, 1), st.floats(0.01, 1), st.integers(0, 9), st.integers(1, 4),
       st.sampled_from(["sgd", "momentum", "adam", "adamw", "rms"]))  # fmt: skip
def test_every_update_moves_as_many_in_as_out(growth, density, drop, seed, interval, optimizer_name):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4))
    prunables = add_masks(net)
    for p in prunables:
        p.mask.copy_((torch.rand(p.mask.shape) < density).float())
    apply_masks(prunables)
    counts = [int(p.mask.sum()) for p in prunables]
    optimizer = make_optimizer(net, optimizer_name, 0.05, 0.01)
    updates = MaskUpdates(prunables, DropAndGrow(growth, interval, drop), seed, steps=12, steps_per_epoch=4)
    for step in range(1, 13):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.randn(5, 6)), torch.randint(0, 4, (5,))).backward()
        optimizer.step()
        apply_masks(prunables)
        before, sizes = [p.mask.clone() for p in prunables], [p.weight.detach().abs() for p in prunables]
        updates.after_step(step, optimizer)
        assert [int(p.mask.sum()) for p in prunables] == counts
        for p, mask, size in zip(prunables, before, sizes, strict=True):
            gone, come, stayed = (mask > 0) & (p.mask == 0), (mask == 0) & (p.mask > 0), (mask > 0) & (p.mask > 0)
            share = updates.fraction(step) if updates.due(step) else 0
            want = min(math.floor(share * int(mask.sum()) + 1e-6), int((mask == 0).sum()))
            assert int(gone.sum()) == int(come.sum()) == want
            assert not p.weight[come].any() and not p.weight[gone].any() and torch.equal(p.weight[stayed].abs(), size[stayed])
            assert not want or not stayed.any() or size[gone].max() <= size[stayed].min()
            for value in optimizer.state[p.weight].values():
                assert value.dim() == 0 or not value[gone | come].any()
    rows = updates.table()
    assert (rows["dropped"] == rows["grown"]).all() and set(rows["step"]) == {t for t in range(1, 13) if updates.due(t)}


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


def test_the_gradient_of_a_pruned_weight_is_that_of_switching_it_on():
    """Central differences in float64, at weights that are masked."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    prunables = add_masks(net)
    for p in prunables:
        p.mask.copy_((torch.rand(p.mask.shape) < 0.5).double())
    apply_masks(prunables)
    x, y = torch.randn(7, 5).double(), torch.randint(0, 3, (7,))
    nn.functional.cross_entropy(net(x), y).backward()
    for p in prunables:
        for place in (p.mask == 0).nonzero()[:4].tolist():
            losses = []
            for value in (1e-5, -1e-5):
                with torch.no_grad():
                    p.weight[tuple(place)] = value
                    losses.append(float(nn.functional.cross_entropy(net(x), y)))
                    p.weight[tuple(place)] = 0
            assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(float(p.weight.grad[tuple(place)]), rel=1e-6, abs=1e-9)


def test_both_say_what_grows():
    assert {n: Pruners.load(n).growth for n in Pruners.names() if Pruners.load(n).growth} == {
        "set": RandomGrowth(), "rigl": GradientGrowth()}  # fmt: skip
