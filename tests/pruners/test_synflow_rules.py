"""What SynFlow does with activations, a softmax at the end and scores beyond float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from Models import registry
from Models.masking import add_masks
from Pruners._shared.problem import Problem
from Pruners.synflow import SynFlow


class Act(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def flow_of(*last, act=F.relu, size=16):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(size, size), Act(act), nn.Linear(size, size), Act(act), nn.Linear(size, 3), *last)
    with torch.no_grad():
        net[0].weight.mul_(30)  # saturates what can be
    p = Problem(net, add_masks(net), (size,))
    return SynFlow().score(p)


@pytest.mark.parametrize("act", [
    torch.tanh, torch.sigmoid, F.hardsigmoid, F.hardtanh, F.softsign, F.logsigmoid, F.relu6, F.elu, lambda x: x.clamp(0, 6),
    lambda x: torch.clamp(x, max=1.0), lambda x: F.leaky_relu(x, -0.2), lambda x: F.prelu(x, torch.tensor([-0.3])), torch.erf,
    lambda x: torch.minimum(x, torch.ones(())), lambda x: F.hardtanh(x, 0.0, 6.0), lambda x: x.clone().tanh_(),
])  # fmt: skip
def test_bounded_activations_count_as_the_identity(act):
    assert all(torch.equal(a, b) and bool((b > 0).all()) for a, b in zip(flow_of(act=act), flow_of(), strict=True))


@pytest.mark.parametrize("act", [
    lambda x: x * torch.sigmoid(x), lambda x: x * F.relu6(x + 3) / 6, lambda x: 0.5 * x * (1 + torch.tanh(x + 0.04 * x**3)),
    lambda x: F.hardsigmoid(x.mean(-1, keepdim=True))[:, None].squeeze(1) * x, lambda x: F.glu(torch.cat([x, x], -1)),
    F.gelu, F.silu, F.softplus, F.hardswish, F.mish,
])  # fmt: skip
def test_gates_keep_their_value_and_pass_a_gradient(act):
    """As the identity they would make a square of the flow: it is no larger than that of ReLU, up to twice for each layer."""
    gated, plain = flow_of(act=act), flow_of()
    assert all(bool((a > 0).all()) for a in gated) and gated[-1].sum() <= 4 * plain[-1].sum()


@pytest.mark.parametrize("last", [
    [nn.Softmax(1)], [nn.LogSoftmax(1)], [Act(lambda x: torch.log(x.softmax(-1)))], [nn.LogSoftmax(1), nn.Flatten()], [nn.Sigmoid()],
])  # fmt: skip
def test_a_softmax_at_the_end_is_left_out(last):
    assert all(torch.equal(a, b) for a, b in zip(flow_of(*last), flow_of(), strict=True))


@pytest.mark.parametrize("name", ["resnet56", "resnet110"])
def test_scaled_layers_give_the_scores_of_float64_times_a_power_of_two(name):
    torch.manual_seed(1)
    model = registry.build(name, "lottery", (3, 32, 32), 10)
    p = Problem(model, add_masks(model), (3, 32, 32))
    with p.scoring(0):
        (plain, flow), (scaled, small) = SynFlow.flow(p, torch.float64), SynFlow.flow(p, torch.float64, scaled=True)
    factor = flow / small
    assert torch.frexp(factor)[0] == 0.5 and 0.1 < small < 100
    assert all(torch.equal(a, b * factor) for a, b in zip(plain, scaled, strict=True))


class Deep(nn.Module):
    """Every kind of rule: sums, joins, products, views, gates, pools, norms; layer by layer 1e20 times as large."""

    def __init__(self, layers):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(layers))
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(8, 3)
        for conv in self.convs:
            conv.weight.data.mul_(1e20)

    def forward(self, x):
        x = x.expand(-1, 4, -1, -1)
        for conv in self.convs:
            y = F.gelu(conv(x))
            y += x
            x = torch.cat([y[:, :2], F.max_pool2d(y, 3, 1, 1)[:, 2:]], 1) * torch.sigmoid(y.mean((2, 3), keepdim=True)) / 2 + 1
        x = F.pad(self.norm(x), (1, 1))
        return self.head(torch.cat([x.mean((2, 3)), F.adaptive_avg_pool2d(x, 1).flatten(1)], 1))


@pytest.mark.parametrize(("layers", "finite"), [(3, True), (20, False)])
def test_every_rule_of_scaling(layers, finite):
    torch.manual_seed(0)
    net = Deep(layers)
    p = Problem(net, add_masks(net), (1, 6, 6))
    with p.scoring(0):
        (plain, flow), (scaled, small) = SynFlow.flow(p, torch.float64), SynFlow.flow(p, torch.float64, scaled=True)
        used = SynFlow().score(p)
    assert bool(torch.isfinite(flow)) is finite and all(bool(torch.isfinite(s).all()) and bool(s.any()) for s in scaled)
    if finite:
        assert all(torch.allclose(a, b * (flow / small), rtol=1e-12, atol=0) for a, b in zip(plain, scaled, strict=True))
    else:
        assert all(torch.equal(a, b) for a, b in zip(used, scaled, strict=True))


def test_scaling_reads_nothing_back_from_the_device():
    net = Deep(2).to("meta")
    scores, flow = SynFlow.flow(Problem(net, add_masks(net), (1, 6, 6)), torch.float64, scaled=True)
    assert flow.device.type == "meta" and all(s.device.type == "meta" for s in scores)
