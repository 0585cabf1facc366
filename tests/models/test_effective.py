"""Effective masks: paths written down by hand, found by brute force, and crossed by a pass of SynFlow."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import Pruners
from Models import registry
from Models.effective import find_paths
from Models.layers import Identity2d
from Models.masking import add_masks, apply_masks
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem

RGB = (3, 32, 32)


def masked(model, **masks):
    """The prunables of `model`, with masks by module name (its dots written as `_`), None for all ones."""
    prunables = add_masks(model, batchnorm="bn" in masks, residual="skip" in masks)
    for p in prunables:
        mask = masks.get(p.module_name.replace(".", "_"))
        if mask is not None:
            p.mask.copy_(torch.tensor(mask, dtype=torch.float32).view(p.mask.shape))
    return prunables


def live(model, shape, **masks):
    """The live entries of every parameter, as lists."""
    return {name: t.int().tolist() for name, t in find_paths(model, masked(model, **masks), shape).live.items()}


def test_three_linear_layers_worked_out_by_hand():
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    # Unit 1 of the first layer hears nothing; unit 2 is heard by nobody; unit 0 leads through 1 of the second to output 0.
    paths = find_paths(
        model, masked(model, **{"0": [[1, 0], [0, 0], [0, 1]], "2": [[0, 1, 0], [1, 1, 0], [0, 0, 0]], "4": [[1, 1, 1], [0, 0, 1]]}), (2,)
    )
    assert paths.live["0.weight"].int().tolist() == [[1, 0], [0, 0], [0, 0]]
    assert paths.live["2.weight"].int().tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert paths.live["4.weight"].int().tolist() == [[0, 1, 0], [0, 0, 0]]
    assert [paths.live[f"{n}.bias"].int().tolist() for n in (0, 2, 4)] == [[1, 0, 0], [0, 1, 0], [1, 0]]
    assert [paths.heard[f"{n}.weight"].int().tolist() for n in (0, 2, 4)] == [[1, 1, 0], [1, 1, 1], [1, 1]]


class Skip(nn.Module):
    """conv - bn - relu, beside an identity, then a depthwise convolution and a linear layer on the whole 2x2 map."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.bn, self.skip = nn.BatchNorm2d(2), Identity2d(2)
        self.depthwise, self.fc = nn.Conv2d(2, 2, 3, padding=1, groups=2), nn.Linear(8, 1)

    def forward(self, x):
        x = self.stem(x)
        x = F.relu(self.bn(self.conv(x))) + self.skip(x)
        return self.fc(F.max_pool2d(self.depthwise(x), 2).flatten(1))


ONE_TAP = [0, 0, 0, 0, 1, 0, 0, 0, 0]


def test_an_emptied_layer_beside_a_shortcut():
    found = live(Skip(), (1, 4, 4), conv=[0] * 36)
    assert found["stem.weight"] == [[[[1]]], [[[1]]]] and sum(torch.tensor(found["conv.weight"]).flatten()) == 0
    assert found["bn.weight"] == found["bn.bias"] == [0, 0] and found["skip.weight"] == [[[1]], [[1]]]
    assert found["depthwise.bias"] == [1, 1] and found["fc.weight"] == [[1] * 8]


def test_a_shortcut_can_be_pruned_and_so_can_a_norm():
    # Channel 0 only crosses the convolution from channel 1, whose own way on is closed by the pruned norm and shortcut.
    across = [0] * 9 + ONE_TAP + [0] * 18
    found = live(Skip(), (1, 4, 4), conv=across, skip=[1, 0], bn=[1, 0])
    assert found["stem.weight"] == [[[[1]]], [[[1]]]] and found["skip.weight"] == [[[1]], [[0]]]
    assert found["bn.weight"] == [1, 0] and found["depthwise.bias"] == [1, 0]
    assert torch.tensor(found["conv.weight"]).flatten().tolist() == across
    assert found["fc.weight"] == [[1, 1, 1, 1, 0, 0, 0, 0]]
    assert live(Skip(), (1, 4, 4), conv=across, skip=[1, 0], bn=[0, 1])["stem.bias"] == [1, 0]


def test_a_flattened_map_has_a_unit_for_each_place():
    # Of channel 1 the classifier keeps one place: the channel lives. Of channel 0 none: it is dead, with all that leads to it.
    found = live(Skip(), (1, 4, 4), conv=[0] * 36, fc=[0, 0, 0, 0, 0, 0, 1, 0])
    assert found["stem.bias"] == found["depthwise.bias"] == [0, 1] and found["fc.bias"] == [1]


def test_grouped_convolutions_connect_within_their_groups():
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Flatten(), nn.Linear(4, 1))
    found = live(model, (4, 1, 1), **{"0": [[1, 0], [0, 1], [1, 1], [0, 0]], "2": [[1, 0, 1, 1]]})
    assert torch.tensor(found["0.weight"]).view(4, 2).tolist() == [[1, 0], [0, 0], [1, 1], [0, 0]]
    assert found["2.weight"] == [[1, 0, 1, 0]]


@pytest.mark.parametrize("norm", [nn.LayerNorm(4), nn.GroupNorm(2, 4)])
def test_units_that_are_normalised_together_hear_each_other(norm):
    """Nobody listens to units 1 and 3, but they move the mean of those who are heard: in a layer norm 0, in a group of two 0 and 1."""
    model = nn.Sequential(nn.Linear(1, 4), norm, nn.Linear(4, 1))
    found = live(model, (1,), **{"2": [[1, 0, 0, 0]]})
    assert found["0.weight"] == ([[1], [1], [1], [1]] if isinstance(norm, nn.LayerNorm) else [[1], [1], [0], [0]])
    assert found["2.weight"] == [[1, 0, 0, 0]]
    assert live(model, (1,), **{"0": [0, 1, 0, 0], "2": [[1, 0, 0, 0]]})["2.weight"] == [[1, 0, 0, 0]]
    assert live(model, (1,), **{"0": [0, 0, 0, 0]})["2.weight"] == [[0, 0, 0, 0]]


class Difference(nn.Module):
    """Two layers whose outputs are subtracted, then a pair of opposite signs; nothing of it may cancel out."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(1, 2), nn.Linear(1, 2), nn.Linear(4, 1)

    def forward(self, x):
        x = self.a(x) - self.b(x)
        return self.c(torch.cat([F.relu(x), F.relu(-x)], 1))


def test_opposite_signs_do_not_close_a_path():
    assert all(torch.tensor(weights).all() for weights in live(Difference(), (1,)).values())
    found = live(Difference(), (1,), b=[0, 0], a=[1, 0])
    assert found["a.weight"] == [[1], [0]] and found["c.weight"] == [[1, 0, 1, 0]]


def test_gates_pass_what_they_multiply():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.gate, self.out = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)

        def forward(self, x):
            return self.out(self.a(x) * torch.sigmoid(self.gate(x)))

    found = live(Gate(), (2,), gate=[[0, 0], [1, 0]], a=[[1, 1], [0, 0]])
    assert found["a.weight"] == [[1, 1], [0, 0]] and found["out.weight"] == [[1, 0]]
    assert found["gate.weight"] == [[0, 0], [0, 0]]  # what it opens is zero


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.integers(0, 2**31), st.sampled_from([0.2, 0.5, 0.8]))
def test_as_many_paths_as_brute_force_finds(sizes, seed, density):
    model = nn.Sequential(*[nn.Linear(a, b, bias=False) for a, b in pairwise(sizes)])
    draws = torch.Generator().manual_seed(seed)
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_(torch.rand(p.mask.shape, generator=draws) < density)
    paths = [[i] for i in range(sizes[0])]
    for p in prunables:
        paths = [[*path, j] for path in paths for j in range(p.mask.shape[0]) if p.mask[j, path[-1]]]
    found = find_paths(model, prunables, sizes[:1]).live
    for layer, p in enumerate(prunables):
        expected = torch.zeros_like(p.mask, dtype=torch.bool)
        for path in paths:
            expected[path[layer + 1], path[layer]] = True
        assert torch.equal(found[p.name], expected)


def synflow_pass(model, prunables, shape):
    """Which weights SynFlow gives a score: a pass in float64 with masks as weights, scaled so that nothing overflows."""
    values = {n: torch.zeros_like(t) if n.endswith("bias") else torch.ones_like(t) for n, t in model.named_parameters()}
    values = {n: t.double() for n, t in (values | {p.name: p.mask.clone() for p in prunables}).items()}
    weights = [values[p.name].requires_grad_() for p in prunables]
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            values |= {f"{name}.running_mean": torch.zeros(module.num_features, dtype=torch.float64)}
            values |= {f"{name}.running_var": torch.ones(module.num_features, dtype=torch.float64)}
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda _m, _i, output: output / output.detach().amax().clamp(min=1e-300))
    output = torch.func.functional_call(model.eval(), values, (torch.ones(1, *shape, dtype=torch.float64),))
    gradients = torch.autograd.grad(output.sum(), weights)
    return [(g * p.mask) != 0 for g, p in zip(gradients, prunables, strict=True)]


@pytest.mark.parametrize(
    ("name", "kind", "shape", "density", "all_taps"),
    [("fc", "default", (1, 28, 28), 0.02, True), ("conv", "default", (1, 8, 8), 0.02, False),
     ("resnet20", "lottery", RGB, 0.02, True), ("resnet110", "lottery", RGB, 0.02, True), ("alexnet", "lottery", RGB, 0.003, False),
     ("vgg16-bn", "lottery", RGB, 0.02, True), ("vgg16-bn", "lottery", RGB, 0.01, False),
     ("resnet18", "tinyimagenet", (3, 64, 64), 0.003, True), ("mobilenet_v2", "torchvision", RGB, 0.1, False)],
)  # fmt: skip
def test_synflow_finds_a_subset_and_the_same_where_every_tap_sees_data(name, kind, shape, density, all_taps):
    torch.manual_seed(1)
    model = registry.build(name, kind, shape, 10)
    problem = Problem(model, add_masks(model), shape)
    prune_loop(problem, Pruners.load("rand")(), density, rounds=1)
    apply_masks(problem.prunables)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    found = find_paths(model, problem.prunables, shape).live
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    scored = synflow_pass(model, problem.prunables, shape)
    effective = [found[p.name] for p in problem.prunables]
    assert all(bool((a <= b).all()) and bool((b <= p.mask.bool()).all()) for a, b, p in zip(scored, effective, problem.prunables, strict=True))
    counts = [sum(int(m.sum()) for m in masks) for masks in (scored, effective)]
    assert counts[0] > 0 and (counts[0] == counts[1]) == all_taps, counts


@pytest.mark.parametrize("name", ["vit_b_32", "swin_t", "convnext_tiny", "efficientnet_b0", "densenet121", "mobilenet_v3_small"])
def test_a_dense_network_is_live_in_every_weight(name):
    shape = (3, 224, 224) if name == "vit_b_32" else (3, 64, 64)
    model = registry.build(name, "torchvision", shape, 10)
    prunables = add_masks(model)
    found = find_paths(model, prunables, shape).live
    assert set(found) == {n for n, _ in model.named_parameters()}
    assert [p.name for p in prunables if not found[p.name].all()] == []


def test_nothing_is_read_on_the_host():
    """On the meta device a host read raises."""
    model = registry.build("resnet20", "lottery", RGB, 10).to("meta")
    paths = find_paths(model, add_masks(model), RGB)
    assert all(t.is_meta for t in [*paths.live.values(), *paths.heard.values()])
