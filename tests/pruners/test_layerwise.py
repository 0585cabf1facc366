"""Budgets of layers: exact, nested, by hand; LAMP's scores."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

import Pruners
from Models import registry
from Models.masking import add_masks
from Pruners._shared.distributions import DISTRIBUTIONS, ErdosRenyiKernel, Layer, Uniform, UniformPlus, apportion
from Pruners._shared.loop import prune_loop
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Problem
from Pruners._shared.scopes import choose_scope, layers_of
from Pruners.lamp import lamp_scores
from Utils.base.errors import Refused

LAYERWISE = ("lamp", "erk", "uniform", "uniform-plus", "mag")


def layer(shape, alive=None, weighs=True):
    return Layer("x", shape, math.prod(shape) if alive is None else alive, weighs)


def test_lamp_by_hand():
    scores = lamp_scores(torch.tensor([1.0, -2.0, 3.0]), torch.ones(3))
    assert scores.dtype == torch.float64 and scores.tolist() == pytest.approx([1 / 14, 4 / 13, 1], abs=1e-15)
    assert lamp_scores(torch.tensor([[1.0, 2.0], [9.0, 3.0]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]])).tolist() == [
        pytest.approx([1 / 14, 4 / 13]), pytest.approx([-math.inf, 1.0])]  # fmt: skip


def test_lamp_of_a_dead_layer_and_of_zeros_is_zero():
    """0 / 0 was NaN, which ranked first."""
    assert lamp_scores(torch.zeros(3), torch.tensor([1.0, 0.0, 1.0])).tolist() == [0, -math.inf, 0]
    assert lamp_scores(torch.tensor([0.0, 2.0]), torch.ones(2)).tolist() == [0, 1]


def test_of_equal_weights_the_earlier_one_scores_higher():
    assert lamp_scores(torch.tensor([2.0, -2.0, 2.0]), torch.ones(3)).tolist() == pytest.approx([1, 1 / 2, 1 / 3])


def test_lamp_sums_do_not_cancel():
    """Total minus cumulative sum lost the large weights of a layer of millions in float32."""
    weights = torch.full((2_000_000,), 1e-3)
    weights[7], weights[11] = 30.0, 20.0
    scores = lamp_scores(weights, torch.ones_like(weights))
    assert scores[7] == 1 and scores[11] == pytest.approx(400 / 1300, abs=1e-12) and (scores > 0).all()
    assert scores.min() == pytest.approx(1e-6 / (1300 + 2e6 * 1e-6), rel=1e-5)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 80)), min_size=1, max_size=9), st.floats(0, 1))
def test_apportioning_is_exact_within_caps_and_proportional(pairs, share):
    weights, caps = [w for w, _ in pairs], [c for _, c in pairs]
    total = round(share * sum(c for w, c in pairs if w))
    shares = apportion(total, weights, [c if w else 0 for w, c in pairs])
    assert sum(shares) == total and all(0 <= n <= c for n, c in zip(shares, caps, strict=True))
    low, high = 0.0, 100.0
    for _ in range(80):  # the level to which all are filled, by bisection
        level = (low + high) / 2
        low, high = (level, high) if sum(min(c, level * w) for w, c in pairs) < total else (low, level)
    assert all(abs(n - min(c, level * w)) < 1 + 1e-6 for n, (w, c) in zip(shares, pairs, strict=True))


def test_apportioning_what_cannot_be():
    with pytest.raises(ValueError, match="7 cannot be divided"):
        apportion(7, [1, 1], [3, 3])
    assert apportion(3, [1, 1], [9, 9]) == [2, 1] and apportion(0, [0], [0]) == [0]


def test_erk_by_hand():
    """Dimension sums 3+1+1+3 = 8, 20 and 30; the first has 9 weights and keeps no more than all of them."""
    layers = [layer((3, 1, 1, 3)), layer((10, 10)), layer((15, 15))]
    assert ErdosRenyiKernel().budgets(layers, 58) == [8, 20, 30]
    assert ErdosRenyiKernel().budgets(layers, 29) == [4, 10, 15]
    assert ErdosRenyiKernel().budgets(layers, 109) == [9, 40, 60]
    assert ErdosRenyiKernel().budgets(layers, 9 + 100 + 151) == [9, 100, 151]
    assert ErdosRenyiKernel().budgets(layers, 334) == [9, 100, 225]


def test_uniform_by_hand():
    layers = [layer((10, 1)), layer((10, 2), 10), layer((30, 1))]
    assert Uniform().budgets(layers, 25) == [5, 5, 15]
    assert Uniform().budgets(layers, 24) == [5, 5, 14] and Uniform().budgets(layers, 50) == [10, 10, 30]


def test_uniform_plus_by_hand():
    """The first convolution (18) stays; the last layer (50) keeps 10 at least; the middle has the rest."""
    layers = [layer((2, 1, 3, 3)), layer((100, 1)), layer((5, 10))]
    assert UniformPlus().budgets(layers, 93) == [18, 50, 25]
    assert UniformPlus().budgets(layers, 48) == [18, 20, 10]
    assert UniformPlus().budgets(layers, 38) == [18, 10, 10]
    assert UniformPlus().budgets(layers, 28) == [18, 0, 10]
    with pytest.raises(Refused, match="keeps 18 of x and 10 of x: a budget of 27 weights"):
        UniformPlus().budgets(layers, 27)
    linear = [layer((10, 1)), *layers[1:]]
    assert UniformPlus().budgets(linear, 80) == [5, 50, 25]
    pruned_below = [layers[0], layers[1], layer((5, 10), 4)]  # by another method: a negative share there
    assert UniformPlus().budgets(pruned_below, 72) == [18, 50, 4]


def test_uniform_plus_of_a_single_convolution():
    with pytest.raises(Refused, match="keeps 18 of x"):
        UniformPlus().budgets([layer((2, 1, 3, 3))], 17)
    assert UniformPlus().budgets([layer((2, 1, 3, 3)), layer((2,), weighs=False)], 19) == [18, 1]


shapes = st.one_of(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.tuples(st.integers(1, 5), st.integers(1, 5), *[st.integers(1, 3)] * 2))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(DISTRIBUTIONS)), st.lists(st.tuples(shapes, st.floats(0, 1)), min_size=1, max_size=7), st.floats(0, 1))
def test_budgets_add_up_and_nest(distribution, content, share):
    layers = [layer(shape, round(part * math.prod(shape))) for shape, part in content]
    alive = [x.alive for x in layers]
    kept = round(share * sum(alive))
    try:
        budgets = DISTRIBUTIONS[distribution].budgets(layers, kept)
    except Refused:
        assume(False)
    assert sum(budgets) == kept and all(0 <= n <= a for n, a in zip(budgets, alive, strict=True))


def test_an_unknown_distribution():
    with pytest.raises(ValueError, match="'cubic': choose from erk, uniform, uniform-plus"):
        choose_scope("global", "cubic")


def conv():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(32, 10))
    return Problem(net, add_masks(net), (2, 4, 4))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([*LAYERWISE, "rand"]), st.sampled_from([None, *DISTRIBUTIONS]), st.floats(0.4, 1), st.integers(1, 4), st.booleans(),
       st.sampled_from(["global", "local"]))  # fmt: skip
def test_the_loop_keeps_exactly_the_budget(name, distribution, density, rounds, invert, scope):
    p, method = conv(), Pruners.load(name)()
    size = sum(m.numel() for m in p.masks)
    prune_loop(p, method, density, rounds=rounds, distribution=distribution, invert=invert, scope=scope)
    kept, chosen = [int(m.sum()) for m in p.masks], DISTRIBUTIONS[distribution] if distribution else method.distribution
    if chosen is None and scope == "local":
        assert kept == [kept_count(m.numel(), density) for m in p.masks]
        return
    assert sum(kept) == kept_count(size, density)
    if chosen and rounds == 1:
        assert kept == chosen.budgets(layers_of(conv().prunables), sum(kept))


def test_within_a_layer_the_largest_stay_and_ties_go_by_position(linear_net):
    with torch.no_grad():
        linear_net[0].weight.copy_(torch.tensor([[1.0, -2.0], [2.0, 2.0]]))
    p = Problem(linear_net, add_masks(linear_net), (2,))
    prune_loop(p, Pruners.load("uniform")(), 0.5, rounds=1)
    assert [m.tolist() for m in p.masks] == [[[0, 1], [1, 0]], [[0, 1], [0, 1]]]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_random_controls_have_the_same_counts(distribution):
    kept = []
    for name, own in ((distribution, None), ("rand", distribution), ("synflow", distribution)):
        p = conv()
        prune_loop(p, Pruners.load(name)(), 0.5, rounds=1, distribution=own)
        kept.append([int(m.sum()) for m in p.masks])
    assert kept[0] == kept[1] == kept[2]


def test_lamp_refuses_less_than_one_weight_a_layer(linear_net):
    p = Problem(linear_net, add_masks(linear_net), (2,))
    with pytest.raises(Refused, match="a budget of 1 weights is too small for 2 layers"):
        prune_loop(p, Pruners.load("lamp")(), 1 / 8, rounds=1)
    prune_loop(p, Pruners.load("lamp")(), 2 / 8, rounds=1)
    assert [m.tolist() for m in p.masks] == [[[0, 0], [0, 1]], [[0, 0], [0, 1]]]


def test_lamp_keeps_a_weight_of_every_layer_and_mag_does_not():
    p = Problem(net := registry.build("vgg11", "lottery", (3, 32, 32), 10), add_masks(net), (3, 32, 32))
    prune_loop(p, Pruners.load("lamp")(), 1e-5, rounds=1)
    assert all(m.any() for m in p.masks)


def test_vectors_are_layers_of_their_own():
    """With ERK a bias or a norm stays whole, its dimensions add up to its size; uniform cuts it as any other."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 40, 3), nn.Flatten(), nn.Linear(40, 10))
    prunables = add_masks(net, bias=True, batchnorm=True)
    layers = layers_of(prunables)
    size = sum(x.size for x in layers)
    assert sum(x.weighs for x in layers) == 3
    for distribution in DISTRIBUTIONS:
        counts = dict(zip((x.name for x in layers), DISTRIBUTIONS[distribution].budgets(layers, round(0.2 * size)), strict=True))
        if distribution == "erk":
            assert all(counts[x.name] == x.size for x in layers if len(x.shape) == 1)
        elif distribution == "uniform":
            assert abs(counts["1.weight"] - 0.2 * 16) <= 1
        else:
            assert counts["0.weight"] == 16 * 27 and counts["4.weight"] >= 80


def test_scores_may_be_inverted_within_budgets():
    p = conv()
    prune_loop(p, Pruners.load("uniform")(), 0.5, rounds=1, invert=True)
    for q in p.prunables:
        w = q.weight.detach().abs()
        assert w[q.mask > 0].max() <= w[q.mask == 0].min()


def test_the_distribution_of_a_flag_stands_above_the_methods():
    kept = []
    for name, own in (("erk", "uniform"), ("uniform", None)):
        p = conv()
        prune_loop(p, Pruners.load(name)(), 0.5, rounds=1, distribution=own)
        kept.append([m.tolist() for m in p.masks])
    assert kept[0] == kept[1]
