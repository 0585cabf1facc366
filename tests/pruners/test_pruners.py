"""The methods: values by hand, laws, and that scoring leaves the model alone."""

from __future__ import annotations

import pytest
import torch
from conftest import assert_same, snapshot
from problems import batch_norm_net, problem
from torch import nn

import Pruners
from Pruners.grasp import GraSP
from Pruners.mag import Mag
from Pruners.rand import Rand
from Pruners.snip import SNIP
from Pruners.synflow import SynFlow


def total(logits, labels):
    """A loss whose gradient is easy: the sum of the outputs."""
    return logits.sum()


X = torch.tensor([[1.0, 1.0]])
Y = torch.tensor([0])


def test_magnitude_by_hand(linear_net):
    scores = Mag().score(problem(linear_net))
    assert scores[0].tolist() == [[1, 2], [3, 4]] and scores[1].tolist() == [[5, 6], [0, 7]]


def test_synflow_by_hand(linear_net):
    """|W1| = [[1,2],[3,4]], |W2| = [[5,6],[0,7]]: R = 5*3 + 6*7 + 7*7 = 106; dR/dW1 = (5, 13) per row, dR/dW2 = (3, 7)."""
    scores = SynFlow().score(problem(linear_net))
    assert scores[0].tolist() == [[5, 10], [39, 52]]
    assert scores[1].tolist() == [[15, 42], [0, 49]]
    assert scores[0].sum() == scores[1].sum() == 106


def test_snip_by_hand(linear_net):
    """L = sum y: dL/dW1 = (5, 1) per row, W1 x = (-1, 7); |w g| = [[5,10],[3,4]], [[5,42],[0,49]]; all add up to 118."""
    scores = SNIP().score(problem(linear_net, batches=[(X, Y)], loss=total))
    assert torch.allclose(scores[0] * 118, torch.tensor([[5.0, 10.0], [3.0, 4.0]]))
    assert torch.allclose(scores[1] * 118, torch.tensor([[5.0, 42.0], [0.0, 49.0]]))


def test_snip_sums_over_batches_before_the_absolute_value(linear_net):
    """The gradients of x and -x cancel: nothing is left of opposite batches."""
    scores = SNIP().score(problem(linear_net, batches=[(X, Y), (-X, Y), (X, Y)], loss=total))
    one = SNIP().score(problem(linear_net, batches=[(X, Y)], loss=total))
    assert all(torch.allclose(a, b) for a, b in zip(scores, one, strict=True))


def test_without_any_gradient_all_snip_scores_are_zero(linear_net):
    scores = SNIP().score(problem(linear_net, batches=[(X, Y), (-X, Y)], loss=total))
    assert not any(s.any() for s in scores)


def hessian_product(net, batches, temperature):
    """w * (H g) by the definition, from the full Hessian of the summed loss."""
    weights = [p.detach() for p in net.parameters()]
    names = [n for n, _ in net.named_parameters()]
    sizes = [w.numel() for w in weights]

    def loss(flat):
        parts = [f.view_as(w) for f, w in zip(flat.split(sizes), weights, strict=True)]
        tensors = dict(zip(names, parts, strict=True))
        logits = [(torch.func.functional_call(net, tensors, (x,)), y) for x, y in batches]
        return sum(nn.functional.cross_entropy(z / temperature, y) for z, y in logits)

    flat = torch.cat([w.reshape(-1) for w in weights])
    g = torch.autograd.functional.jacobian(loss, flat)
    h = torch.autograd.functional.hessian(loss, flat)
    score = flat * (h @ g)
    return [s.view_as(w) for s, w in zip((score / score.sum().abs()).split(sizes), weights, strict=True)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_grasp_is_the_hessian_gradient_product(count):
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Tanh(), nn.Linear(3, 2, bias=False)).double()
    batches = [(torch.randn(4, 2).double(), torch.randint(0, 2, (4,))) for _ in range(count)]
    pruner = GraSP()
    pruner.epsilon = 0.0
    want = hessian_product(net, batches, pruner.temperature)
    got = pruner.score(problem(net, batches=batches))
    assert all(torch.allclose(a, b, rtol=1e-8) for a, b in zip(got, want, strict=True))


def test_rand_has_a_stream_of_its_own(linear_net):
    first = Rand().score(problem(linear_net, seed=5))
    torch.manual_seed(999)
    again = Rand().score(problem(linear_net, seed=5))
    other = Rand().score(problem(linear_net, seed=6))
    assert torch.equal(first[0], again[0]) and not torch.equal(first[0], other[0])


def test_pruned_weights_carry_no_score(linear_net):
    p = problem(linear_net, batches=[(X, Y)], loss=total)
    p.masks[0][1, 1] = 0  # W1 x = (-1, 3), y = (-23, 21), |W1| 1 = (3, 3)
    assert SynFlow().score(p)[1].tolist() == [[15, 18], [0, 21]]
    assert SNIP().score(p)[0][1, 1] == 0 and Mag().score(p)[0][1, 1] == 0
    assert GraSP().score(p)[0][1, 1] == 0


@pytest.mark.parametrize("train_mode", [False, True])
@pytest.mark.parametrize("name", Pruners.names())
def test_scoring_leaves_the_model_as_it_was(name, train_mode):
    """Parameters, buffers, stale gradients, mode, hooks and the global random numbers, bit for bit."""
    net = batch_norm_net()
    data = [(torch.randn(6, 2, 4, 4), torch.randint(0, 3, (6,))) for _ in range(2)]
    nn.functional.cross_entropy(net(data[0][0]), data[0][1]).backward()  # stale gradients, which the ancestor added to the scores
    net[3].eval()
    p = problem(net, (2, 4, 4), batches=data, train_mode=train_mode)
    before = snapshot(net)
    with p.scoring(0):
        scores = Pruners.load(name)().score(p)
    assert_same(before, snapshot(net))
    assert [s.shape for s in scores] == [p.weight.shape for p in p.prunables]
    net.zero_grad()
    with p.scoring(0):
        fresh = Pruners.load(name)().score(p)
    if not issubclass(Pruners.load(name), Rand):
        assert all(torch.equal(a, b) for a, b in zip(scores, fresh, strict=True))


def test_a_pruner_that_writes_to_the_model_is_found_out(linear_net):
    p = problem(linear_net)
    with pytest.raises(RuntimeError, match="changed the model"), p.scoring(0), torch.no_grad():
        linear_net[0].weight.mul_(2)


def test_a_data_free_problem_has_no_batches(linear_net):
    with pytest.raises(ValueError, match="needs_data"):
        SNIP().score(problem(linear_net))


@pytest.mark.parametrize("name", ["mag", "snip", "grasp"])
def test_scoring_reads_nothing_back_from_the_device(name):
    """On `meta` every host read and every tensor on another device raises. LAMP adds up on the CPU, in a fixed order."""
    net = batch_norm_net().to("meta")
    batch = (torch.empty(6, 2, 4, 4, device="meta"), torch.empty(6, dtype=torch.long, device="meta"))
    for train_mode in (False, True):
        scores = Pruners.load(name)().score(problem(net, (2, 4, 4), batches=[batch, batch], train_mode=train_mode))
        assert all(s.device.type == "meta" for s in scores)


def test_rand_lands_on_the_device():
    assert Rand().score(problem(batch_norm_net().to("meta"), (2, 4, 4)))[0].device.type == "meta"


def test_every_method_says_what_it_is():
    assert set(Pruners.names()) >= {"rand", "mag", "snip", "grasp", "synflow"}
    for name in Pruners.names():
        pruner = Pruners.load(name)
        assert pruner.formula and pruner.source and pruner.__doc__
    assert Pruners.load("synflow").rounds == 100 and Pruners.load("snip").rounds == 1
    assert [Pruners.load(n).needs_data for n in ("rand", "mag", "snip", "grasp", "synflow")] == [False, False, True, True, False]
