"""The rounds: exact budgets, nested masks, scopes, inversion, shuffling."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Models import registry
from Models.layers import Identity2d
from Models.masking import add_masks, apply_masks, hold_masks
from Pruners._shared.base import Pruner
from Pruners._shared.loop import Unscorable, prune_loop, shuffle_masks
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Problem
from Pruners.mag import Mag
from Pruners.rand import Rand
from Pruners.synflow import SynFlow


def small():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 11), nn.ReLU(), nn.Linear(11, 5))
    return Problem(net, add_masks(net), (7,))


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.01, 1.0), st.integers(1, 6), st.sampled_from(["exponential", "linear"]), st.sampled_from(["global", "local"]),
    st.booleans(), st.sampled_from([Rand, Mag, SynFlow]),
)  # fmt: skip
def test_budgets_are_exact(density, rounds, schedule, scope, invert, method):
    p = small()
    prune_loop(p, method(), density, rounds=rounds, schedule=schedule, scope=scope, invert=invert)
    kept = [int(m.sum()) for m in p.masks]
    if scope == "local":
        assert kept == [kept_count(m.numel(), density) for m in p.masks]
    else:
        assert sum(kept) == kept_count(77 + 55, density)


class Fickle(Pruner):
    """Scores that change from round to round, and a record of the masks seen."""

    def __init__(self):
        self.seen = []

    def score(self, problem):
        self.seen.append([m.clone() for m in problem.masks])
        return [torch.randn(p.weight.shape) for p in problem.prunables]


def test_masks_nest_over_rounds():
    p, pruner = small(), Fickle()
    prune_loop(p, pruner, 0.1, rounds=8)
    states = [*pruner.seen, p.masks]
    for before, after in pairwise(states):
        assert all(bool((a <= b).all()) for a, b in zip(after, before, strict=True))
        assert sum(int(a.sum()) for a in after) < sum(int(b.sum()) for b in before)


def test_a_network_already_sparser_is_left_alone():
    p = small()
    prune_loop(p, Mag(), 0.1, rounds=1)
    before = [m.clone() for m in p.masks]
    prune_loop(p, Rand(), 0.5, rounds=3)
    assert all(torch.equal(a, b) for a, b in zip(before, p.masks, strict=True))


def test_invert_removes_the_largest():
    p = small()
    prune_loop(p, Mag(), 0.5, rounds=1, invert=True)
    kept = torch.cat([w.detach().abs()[m > 0] for w, m in zip([x.weight for x in p.prunables], p.masks, strict=True)])
    gone = torch.cat([w.detach().abs()[m == 0] for w, m in zip([x.weight for x in p.prunables], p.masks, strict=True)])
    assert kept.max() <= gone.min()


def test_invert_brings_no_pruned_weight_back_and_keeps_zero_scores():
    """1 / v made NaN of zero and revived pruned weights."""
    p = small()
    with torch.no_grad():
        p.prunables[0].weight.zero_()
    prune_loop(p, Mag(), 0.3, rounds=5, invert=True)
    assert p.masks[0].sum() == kept_count(132, 0.3) and p.masks[1].sum() == 0


class Broken(Pruner):
    def score(self, problem):
        scores = [torch.zeros(p.weight.shape) for p in problem.prunables]
        scores[1][2, 3] = float("nan")
        return scores


def test_scores_that_are_not_finite_are_refused_with_the_layers_name():
    with pytest.raises(Unscorable, match=r"2\.weight: 1 of 55 scores are not finite"):
        prune_loop(small(), Broken(), 0.5, rounds=1)


def test_a_wrong_shape_is_an_error():
    class Wrong(Pruner):
        def score(self, problem):
            return [torch.zeros(1) for _ in problem.prunables]

    with pytest.raises(ValueError, match=r"0\.weight: scores of shape \(1,\), not \(11, 7\)"):
        prune_loop(small(), Wrong(), 0.5, rounds=1)


def test_shuffle_changes_masks_and_keeps_each_layers_count():
    """The ancestor's shuffle rebound a local name and did nothing."""
    p = small()
    prune_loop(p, Mag(), 0.4, rounds=1)
    before = [m.clone() for m in p.masks]
    shuffle_masks(p.prunables, seed=1)
    assert [m.sum() for m in p.masks] == [b.sum() for b in before]
    assert not all(torch.equal(a, b) for a, b in zip(before, p.masks, strict=True))
    again = small()
    for mask, b in zip(again.masks, before, strict=True):
        mask.copy_(b)
    shuffle_masks(again.prunables, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(again.masks, p.masks, strict=True))


@pytest.mark.parametrize("name", ["resnet20", "vgg11-bn", "alexnet"])
def test_local_scope_with_every_kind_of_prunable(name):
    """The ancestor aborted on accumulated rounding, and `--prune-residual` met a module without a bias."""
    torch.manual_seed(0)
    model = registry.build(name, "lottery", (3, 32, 32), 10)
    p = Problem(model, add_masks(model, bias=True, batchnorm=True, residual=True), (3, 32, 32))
    prune_loop(p, SynFlow(), 0.37, rounds=2, scope="local")
    assert [int(m.sum()) for m in p.masks] == [kept_count(m.numel(), 0.37) for m in p.masks]


def test_what_is_prunable():
    model = registry.build("resnet20", "lottery", (3, 32, 32), 10)
    plain = add_masks(model)
    assert {p.param for p in plain} == {"weight"} and len(plain) == 22
    assert not any("bn" in n or "bias" in n for n, _ in model.named_buffers() if n.endswith("_mask"))
    everything = add_masks(model, bias=True, batchnorm=True, residual=True)
    assert [p.name for p in everything] == [n for n, _ in model.named_parameters()]
    assert sum(isinstance(p.module, Identity2d) for p in everything) == 7
    assert [p.name for p in add_masks(registry.build("fc", "default", (1, 4, 4), 3), dense_classifier=True)][-1] == "9.weight"


def test_a_shared_parameter_is_counted_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert [p.name for p in add_masks(nn.Sequential(first, second))] == ["0.weight"]


@pytest.mark.parametrize("make", [
    lambda ps: torch.optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda ps: torch.optim.Adam(ps, lr=0.01, fused=True),
    lambda ps: torch.optim.RMSprop(ps, lr=0.01),
])  # fmt: skip
def test_survivors_take_the_path_of_a_mask_in_the_forward(make):
    """Multiplying after the step is the same as the ancestor's multiplying in each forward, and pruned weights stay zero."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    prunables = add_masks(net)
    for p in prunables:
        p.mask.copy_((torch.rand(p.mask.shape) > 0.5).float())
    reference = [w.detach().clone().requires_grad_() for w in net.parameters()]
    masks = [net[0].weight_mask, net[2].weight_mask]
    apply_masks(prunables)
    optimizer, other = make(list(net.parameters())), make(reference)
    hold_masks(optimizer, prunables)
    for _ in range(20):
        x, y = torch.randn(16, 6), torch.randint(0, 3, (16,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        w1, b1, w2, b2 = reference
        hidden = nn.functional.linear(x, w1 * masks[0], b1).relu()
        other.zero_grad()
        nn.functional.cross_entropy(nn.functional.linear(hidden, w2 * masks[1], b2), y).backward()
        other.step()
    for mine, theirs, mask in zip((net[0].weight, net[2].weight), (reference[0], reference[2]), masks, strict=True):
        assert torch.allclose(mine, theirs * mask, atol=1e-6)
        assert not mine.detach()[mask == 0].any()
    assert torch.allclose(net[2].bias, reference[3], atol=1e-6)
