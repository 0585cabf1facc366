"""Networks without dead units: the same function, the same training, and every number's place known."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import Pruners
from Models import registry
from Models.compact import compact
from Models.difference import largest_difference
from Models.effective import find_paths
from Models.layers import Identity2d
from Models.masking import add_masks, apply_masks, hold_masks
from Models.reach import has_path
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem

RGB = (3, 32, 32)


def pruned(name, kind, shape, pruner, density, **prunable):
    """A registered network of ten classes, pruned in few rounds."""
    torch.manual_seed(1)
    model = registry.build(name, kind, shape, 10)
    images, labels = torch.randn(20, *shape), torch.arange(20) % 10
    problem = Problem(model, add_masks(model, **prunable), shape, read_batches=lambda: [(images, labels)])
    prune_loop(problem, Pruners.load(pruner)(), density, rounds=5 if pruner == "synflow" else 1)
    apply_masks(problem.prunables)
    return model, problem.prunables


def made_compact(model, prunables, shape):
    return compact(model, prunables, find_paths(model, prunables, shape), shape)


def size(model):
    return sum(p.numel() for p in model.parameters())


CASES = [
    ("fc", "default", (1, 28, 28)), ("conv", "default", (1, 12, 12)), ("vgg11", "lottery", RGB), ("vgg11-bn", "lottery", RGB),
    ("resnet20", "lottery", RGB), ("mobilenet_v2", "torchvision", RGB), ("alexnet", "lottery", RGB),
    ("resnet18", "tinyimagenet", RGB),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "shape"), CASES)
def test_the_same_function(name, kind, shape):
    """`python tests/every_model.py` does all networks at all densities."""
    for pruner, density in (("synflow", 0.02), ("snip", 0.01), ("rand", 0.1)):
        model, prunables = pruned(name, kind, shape, pruner, density)
        if not has_path(model, prunables, shape):
            assert pruner != "rand"
            continue
        before = {n: t.clone() for n, t in model.state_dict().items()}
        small = made_compact(model, prunables, shape)
        assert largest_difference(model, small.model, torch.rand(4, *shape)) < 1e-9
        assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
        live = find_paths(model, prunables, shape).live
        left = {n: small.places[n].flatten() for n, _ in small.model.named_parameters()}
        assert all(set(live[n].flatten().nonzero().flatten().tolist()) <= set(places.tolist()) for n, places in left.items())


@pytest.mark.parametrize("constant", [0.1, 0.3, 1 / 3, 7.7])
def test_a_constant_that_a_norm_takes_away_keeps_no_unit(constant):
    """Unit 1 hears nothing and says its bias, whose mean and variance over 98 places round on some processors."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(98, 2))
    prunables = add_masks(model)
    prunables[0].mask[1] = 0
    with torch.no_grad():
        model[0].bias[1] = model[1].running_mean[1] = constant
    apply_masks(prunables)
    small = made_compact(model, prunables, (1, 7, 7)).model
    assert len(small[0].weight) == 2
    assert largest_difference(model, small, torch.rand(4, 1, 7, 7)) < 1e-9


@pytest.mark.parametrize("pruner", ["rand", "synflow"])
@pytest.mark.parametrize(("name", "kind", "shape"), CASES[1:6])
def test_constants_stay(name, kind, shape, pruner):
    """Dead units of a trained network still say something: where that is heard, they are kept."""
    model, prunables = pruned(name, kind, shape, pruner, 0.03)
    fresh = made_compact(model, prunables, shape).model
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data, module.weight.data):
                tensor.uniform_(0.1, 0.5)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.uniform_(0.1, 0.5)
    small = made_compact(model, prunables, shape).model
    assert largest_difference(model, small, torch.rand(4, *shape)) < 1e-9
    assert size(fresh) <= size(small) <= size(model)


@pytest.mark.parametrize("prunable", [{"bias": True}, {"batchnorm": True}, {"residual": True}, {"dense_classifier": True}])
def test_whatever_is_prunable(prunable):
    model, prunables = pruned("resnet20", "lottery", RGB, "rand", 0.1, **prunable)
    small = made_compact(model, prunables, RGB)
    assert largest_difference(model, small.model, torch.rand(4, *RGB)) < 1e-9
    assert [p.name for p in small.prunables] == [p.name for p in prunables]
    assert all(bool((p.weight * p.mask == p.weight).all()) for p in small.prunables)


def test_shrinking_and_expanding():
    model, prunables = pruned("vgg11-bn", "lottery", RGB, "synflow", 0.01)
    small = made_compact(model, prunables, RGB)
    assert size(small.model) < size(model) / 2
    state = small.model.state_dict()
    assert {n: t.shape for n, t in small.shrink(model.state_dict()).items()} == {n: t.shape for n, t in state.items()}
    assert all(torch.equal(t, state[n]) for n, t in small.shrink(model.state_dict()).items())
    for tensor in state.values():
        tensor += 1
    whole = small.expand(state, model.state_dict())
    assert all(torch.equal(t, state[n]) for n, t in small.shrink(whole).items())
    for name, tensor in model.state_dict().items():
        changed = (whole[name] != tensor).sum()
        assert changed == state[name].numel(), name  # nothing else was written


def step(model, prunables, images, optimizer):
    optimizer.zero_grad()
    F.cross_entropy(model(images), torch.arange(len(images)) % 10).backward()
    optimizer.step()


@pytest.mark.parametrize(("name", "kind"), [("vgg11-bn", "lottery"), ("resnet20", "lottery")])
def test_the_same_training(name, kind):
    """In float64, where sums of the same numbers in another order differ by next to nothing."""
    model, prunables = pruned(name, kind, RGB, "synflow", 0.02)
    small = made_compact(model, prunables, RGB)
    draws = torch.Generator().manual_seed(1)
    batches = [torch.randn(8, *RGB, generator=draws, dtype=torch.float64) for _ in range(3)]
    before = {n: t.clone() for n, t in model.double().state_dict().items()}
    for network, masked in ((model, prunables), (small.model.double(), small.prunables)):
        network.train()
        optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
        hold_masks(optimizer, masked)
        for images in batches:
            step(network, masked, images, optimizer)
    expanded = small.expand(small.model.state_dict(), before)
    images = torch.randn(4, *RGB, dtype=torch.float64)
    assert largest_difference(model, small.model, images) < 1e-6
    for name, tensor in small.shrink(model.state_dict()).items():
        torch.testing.assert_close(small.shrink(expanded)[name], tensor, rtol=1e-5, atol=1e-8, msg=name)
    model.load_state_dict(expanded)
    assert largest_difference(model, small.model, images) < 1e-9


def test_an_emptied_layer_beside_a_shortcut():
    model, prunables = pruned("resnet20", "lottery", RGB, "rand", 1.0)
    for p in prunables:
        if p.module_name == "blocks.1.conv1":
            p.mask.zero_()
    apply_masks(prunables)
    small = made_compact(model, prunables, RGB)
    block = small.model.blocks[1]
    assert (block.conv1.out_channels, block.bn1.num_features, block.conv2.in_channels, block.conv2.out_channels) == (1, 1, 1, 16)
    assert isinstance(block.shortcut, Identity2d) and largest_difference(model, small.model, torch.rand(4, *RGB)) < 1e-12


def test_cut_by_hand():
    """Unit 1 hears nothing and says nothing; unit 2 is heard by nobody; unit 3 hears nothing but says its bias."""
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1), nn.Flatten(), nn.Linear(8, 1))
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([0.5, 0.0, 0.5, 0.5]))
    prunables = add_masks(model)
    prunables[0].mask.copy_(torch.tensor([1.0, 0, 1, 0]).view(4, 1, 1, 1))
    prunables[1].mask[:, 2] = 0
    apply_masks(prunables)
    small = made_compact(model, prunables, (1, 2, 2))
    assert small.places["0.bias"].tolist() == [0, 3]
    assert small.places["0.weight"].flatten().tolist() == [0, 3]
    assert small.model[2].weight.equal(model[2].weight[:, [0, 3]]) and small.model[2].weight_mask.all()
    assert small.model[4].weight.shape == (1, 8)
    assert largest_difference(model, small.model, torch.rand(3, 1, 2, 2)) < 1e-12
    with torch.no_grad():
        model[0].bias[3] = -0.5  # behind the ReLU it says nothing either
    assert made_compact(model, prunables, (1, 2, 2)).places["0.bias"].tolist() == [0]


@pytest.mark.parametrize("middle", [
    nn.Conv2d(8, 16, 3, groups=2), nn.Conv2d(8, 16, 3, groups=8), nn.Conv2d(8, 4, 3, groups=4), nn.GroupNorm(2, 8),
    nn.LayerNorm([8, 6, 6]),
])  # fmt: skip
def test_layers_that_are_never_cut(middle):
    """Grouped convolutions of more units than inputs, or of fewer, and norms over several units: what is around them is cut."""
    torch.manual_seed(1)
    units = getattr(middle, "out_channels", 8)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), middle, nn.ReLU(), nn.Conv2d(units, 9, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)
    )
    model(torch.zeros(1, *(shape := (3, 8, 8))))
    prunables = add_masks(model)
    draws = torch.Generator().manual_seed(1)
    for p in prunables:
        p.mask.copy_(torch.rand(p.mask.shape, generator=draws) < 0.1)
    prunables[-2].mask[3:] = 0
    with torch.no_grad():
        model[4].bias.zero_()
    apply_masks(prunables)
    small = made_compact(model, prunables, shape).model
    assert small[4].out_channels <= 3 and small[4].in_channels == units and small[0].out_channels == 8
    assert largest_difference(model, small, torch.rand(4, *shape)) < 1e-12


def test_the_outputs_of_a_network_stay():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
    prunables = add_masks(model)
    prunables[1].mask[2:] = 0
    prunables[1].mask[:, 1:] = 0
    apply_masks(prunables)
    small = made_compact(model, prunables, (3,))
    assert small.model[2].weight.shape == (5, 1)
    assert torch.equal(small.model(torch.ones(1, 3)), model(torch.ones(1, 3)))
