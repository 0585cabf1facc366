"""SynFlow: the theorems of its paper, activations with a ceiling, and the range of its scores."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from problems import batch_norm_net, problem
from torch import nn

from Models import registry
from Models.masking import add_masks
from Pruners import synflow
from Pruners._shared.problem import Problem
from Pruners.synflow import SynFlow


def test_synflow_conserves_flow_through_layers_and_units():
    """Tanaka et al. 2020, theorems 1 and 2: layer totals are equal, and what flows into a unit flows out of it."""
    torch.manual_seed(0)
    model = registry.build("vgg11", "lottery", (3, 32, 32), 10)
    p = problem(model, (3, 32, 32))
    scores = [s.double() for s in SynFlow.flow(p, torch.float64)[0]]
    sums = torch.stack([s.sum() for s in scores])
    assert torch.allclose(sums, sums[0].expand_as(sums), rtol=1e-9)
    for left, right in pairwise(scores):
        flows_in = left.sum(dim=tuple(range(1, left.dim())))
        flows_out = right.sum(dim=tuple(d for d in range(right.dim()) if d != 1))
        assert torch.allclose(flows_in, flows_out, rtol=1e-9)


def test_synflow_takes_absolute_values_of_biases_and_statistics_too():
    net = batch_norm_net().eval()
    p = problem(net, (2, 4, 4))
    scores = SynFlow().score(p)
    with torch.no_grad():
        for tensor in [*net.parameters(), net[1].running_mean]:
            tensor.abs_()
    assert all(torch.equal(a, b) for a, b in zip(scores, SynFlow().score(problem(net, (2, 4, 4))), strict=True))


@pytest.mark.parametrize("ceiling", [nn.ReLU6(), nn.ReLU6(inplace=True), nn.Hardtanh(0, 1)])
def test_synflow_goes_through_ceilings(ceiling):
    """Behind ReLU6 nearly all scores would be zero, and mobilenet_v2 would lose its last layers."""
    networks = []
    for activation in (ceiling, nn.ReLU()):
        torch.manual_seed(3)
        networks.append(nn.Sequential(nn.Linear(4, 9), activation, nn.Linear(9, 2)))
        networks[-1][0].weight.data *= 100
    scores = [SynFlow().score(Problem(n, add_masks(n), (4,))) for n in networks]
    assert all(torch.equal(a, b) and bool((a > 0).all()) for a, b in zip(*scores, strict=True))


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_synflow_goes_on_in_float64_where_float32_leaves_its_range(linear_net, scale):
    exact = [s.double() * scale**2 for s in SynFlow().score(problem(linear_net))]
    with torch.no_grad():
        for p in linear_net.parameters():
            p.mul_(scale)
    scores = SynFlow().score(problem(linear_net))
    assert scores[0].dtype == torch.float64
    assert all(torch.allclose(a, b, rtol=1e-5, atol=0) for a, b in zip(scores, exact, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_smallest_positive_score(dtype):
    values = [0.0, 3.0, 1e-38, 5e30, 1e-45, 7.0]
    for count in range(len(values) + 1):
        score = torch.tensor([*values[:count], 0.0], dtype=dtype)
        above = score[score > 0]
        assert synflow._smallest_positive(score) == (above.min() if len(above) else torch.inf)


def test_zero_scores_alone_need_no_float64(linear_net):
    assert SynFlow().score(problem(linear_net))[1].dtype == torch.float32


@pytest.mark.parametrize("name", ["resnet56", "resnet110"])
def test_deep_residual_networks_have_finite_scores(name):
    """In float32 these were infinite or NaN."""
    torch.manual_seed(1)
    p = problem(registry.build(name, "lottery", (3, 32, 32), 10), (3, 32, 32))
    with p.scoring(0):
        scores = SynFlow().score(p)
    assert all(bool(torch.isfinite(s).all()) for s in scores) and scores[0].dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_synflow_reads_nothing_back_but_its_range(dtype):
    scores, flow = SynFlow.flow(problem(batch_norm_net().to("meta"), (2, 4, 4)), dtype)
    assert flow.dtype == dtype and all(s.device.type == "meta" for s in scores)
