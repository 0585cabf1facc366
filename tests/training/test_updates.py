"""Masks that move in training: counts of every update, what goes and what comes, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import Pruners
from Models.masking import add_masks, apply_masks
from Pruners._shared.dynamics import DropAndGrow, GradientGrowth, RandomGrowth
from Pruners._shared.updates import MaskUpdates
from Utils.training.optimizers import make_optimizer


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
