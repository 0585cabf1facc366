"""Whether a path is left: through any function, decided by what feeds what, never by a value."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from Models import registry
from Models.masking import add_masks
from Models.reach import has_path


class Between(nn.Module):
    """A hidden layer of 8 units, a function, a last layer, the function again: [B, 1, 2, 2] -> [B, 3]."""

    def __init__(self, function):
        super().__init__()
        self.first, self.last, self.function = nn.Linear(4, 8), nn.Linear(8, 3), function

    def forward(self, x):
        return self.function(self.last(self.function(self.first(x.flatten(1)))))


def attend(x):
    parts = x[:, :, None]
    return F.scaled_dot_product_attention(parts, parts, parts)[..., 0]


def written_in_place(x):
    y = torch.zeros_like(x)
    y[:, 1:] += x[:, :-1]
    y[:, :1].copy_(x[:, -1:])
    return y


FUNCTIONS = [
    torch.sigmoid, torch.tanh, torch.exp, F.gelu, F.hardswish, F.relu6, F.normalize, attend, written_in_place,
    lambda x: F.hardswish(x, inplace=True), lambda x: x - x.mean(1, keepdim=True), lambda x: x.log_softmax(1), lambda x: x.softmax(1),
    lambda x: F.rms_norm(x, x.shape[1:]), lambda x: F.layer_norm(x, x.shape[1:]), lambda x: x.clamp(5, 6), lambda x: x.sort(1).values,
    lambda x: x[:, torch.arange(x.shape[1] - 1, -1, -1)], lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), lambda x: x / (x.norm() + 1),
    lambda x: torch.where(x > 0, x, -x), lambda x: x.unsqueeze(1).expand(-1, 2, -1).amin(1),
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS)
def test_paths_through_any_function(function):
    model = Between(function)
    first, last = add_masks(model)
    last.mask[0, 0] = 0
    assert has_path(model, [first, last], (1, 2, 2))
    first.mask.zero_()
    assert not has_path(model, [first, last], (1, 2, 2))
    first.mask.fill_(1)
    last.mask.zero_()
    assert not has_path(model, [first, last], (1, 2, 2))


class Clamped(nn.Module):
    def forward(self, x):
        return x.exp().clamp_(5, 6)


@pytest.mark.parametrize("function", [nn.ReLU(inplace=True), nn.Hardswish(), nn.PReLU(8), Clamped(), nn.BatchNorm1d(8), nn.Identity()])
def test_units_that_miss_each_other_are_no_path(function):
    """Unit 3 alone hears the image, and all but unit 3 are listened to."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), function, nn.Linear(8, 3))
    first, last = add_masks(model)
    first.mask.zero_()
    first.mask[3, 1] = 1
    last.mask[:, 3] = 0
    assert not has_path(model, [first, last], (1, 2, 2))
    last.mask[2, 3] = 1
    assert has_path(model, [first, last], (1, 2, 2))


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d(1), nn.MaxPool2d(2), nn.AvgPool2d(3, 1, 1), nn.Upsample(scale_factor=2),
                                   nn.ZeroPad2d(1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ChannelShuffle(1),
                                   nn.InstanceNorm2d(4), nn.Dropout2d()])  # fmt: skip
def test_channels_that_miss_each_other_are_no_path(layer):
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), layer, nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    prunables = [p for p in add_masks(model) if p.module_name in ("0", "2")]
    first, last = prunables
    first.mask[[0, 1, 3]] = 0
    last.mask[:, 2] = 0
    assert not has_path(model, prunables, (1, 6, 6))
    last.mask[1, 2] = 1
    assert has_path(model, prunables, (1, 6, 6))


def test_units_that_are_normalised_together_hear_each_other():
    """In groups of two, unit 1 moves what the norm makes of unit 0, and not of unit 3."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.GroupNorm(2, 4), nn.Linear(4, 1))
    first, last = add_masks(model)
    first.mask[[0, 2, 3]] = last.mask[:, [1, 2, 3]] = 0
    assert has_path(model, [first, last], (1, 2, 2))
    last.mask.zero_()
    last.mask[0, 3] = 1
    assert not has_path(model, [first, last], (1, 2, 2))


@pytest.mark.parametrize("value", [0.0, 1e-320, 1e38, float("nan"), float("inf")])
def test_what_the_weights_are_decides_nothing(value):
    """Two numbers that agree to the last bit, vanish or overflow are no verdict."""
    model = nn.Sequential(nn.Flatten(), *[nn.Linear(4, 4) for _ in range(6)])
    prunables = add_masks(model)
    prunables[0].mask[0, 0] = 0
    for p in prunables:
        nn.init.constant_(p.weight, value)
    assert has_path(model, prunables, (1, 2, 2))


def test_the_network_is_left_as_it_was():
    model = registry.build("resnet20", "lottery", (3, 8, 8), 10)
    prunables = add_masks(model)
    prunables[0].mask[0] = 0
    model.train()
    before, versions = torch.get_rng_state(), [t._version for t in model.state_dict().values()]
    has_path(model, prunables, (3, 8, 8))
    assert all(m.training for m in model.modules()) and torch.equal(before, torch.get_rng_state())
    assert versions == [t._version for t in model.state_dict().values()]


@pytest.mark.parametrize(("name", "size"), [("vit_b_16", 32), ("swin_t", 32), ("mobilenet_v3_small", 64), ("densenet121", 64)])
def test_a_dense_torchvision_network_is_not_collapsed(name, size):
    torch.manual_seed(0)
    model = registry.build(name, "torchvision", (3, size, size), 10)
    prunables = add_masks(model)
    prunables[0].mask.view(-1)[0] = 0
    assert has_path(model, prunables, (3, size, size))
    for p in prunables:
        p.mask.zero_()
    assert not has_path(model, prunables, (3, size, size))


LEAVES = {
    "numpy": lambda x: torch.from_numpy(x.detach().numpy().copy()),
    "list": lambda x: torch.tensor(x.tolist()),
    "float": lambda x: torch.ones(1, 3) * float(x.sum()),
    "branch": lambda x: torch.ones(1, 3) if x.sum() > 0 else torch.zeros(1, 3),
}


@pytest.mark.parametrize("way", LEAVES)
def test_numbers_that_leave_torch_are_a_doubt(way):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.b(LEAVES[way](self.a(x)))

    net = Net()
    prunables = add_masks(net)
    prunables[0].mask[0] = 0
    assert has_path(net, prunables, (4,))
    prunables[0].mask.zero_()
    assert not has_path(net, prunables, (4,))  # what leaves depends on no image
