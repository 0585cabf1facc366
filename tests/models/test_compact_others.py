"""Compact networks of layers that the cut does not understand: these stay, and the small network is the same function."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.shufflenetv2 import ShuffleNetV2

from Models.compact import compact
from Models.difference import largest_difference
from Models.effective import find_paths
from Models.masking import add_masks, apply_masks, remove_masks
from Models.reach import has_path


class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias, self.stride, self.padding)


class Masked(nn.Linear):
    """A layer that multiplies by its mask itself."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("weight_mask", torch.ones_like(self.weight))

    def forward(self, x):
        return F.linear(x, self.weight * self.weight_mask, self.bias)


class Net(nn.Module):
    """Layers `a`, `b`, ... and a function of them and the image."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, x):
        return self.function(*self.layers, x)


def conv(a, b, **more):
    return nn.Conv2d(a, b, 3, padding=1, **more)


def halves(a, b, f, x):
    u, v = F.relu(a(x)).chunk(2, 1)
    return f(torch.cat([u, F.relu(b(v))], 1).mean((2, 3)))


def concatenated(a, b, f, x):
    for layer in (a, b):
        x = torch.cat([x, F.relu(layer(x))], 1)
    return f(x.mean((2, 3)))


def shuffled(a, b, f, x):
    x = F.relu(a(x)).view(-1, 4, 2, 8, 8).transpose(1, 2).reshape(-1, 8, 8, 8)
    return f(F.relu(b(x)).mean((2, 3)))


def maxima(a, b, f, x):
    x = F.relu(b(F.relu(a(x))))
    return f(torch.cat([x.amax(1, keepdim=True), x[:, 1:]], 1).mean((2, 3)))


def centres(a, b, f, x):
    x = F.relu(a(x)).flatten(2)
    near = b(x.unsqueeze(3)).squeeze(3).softmax(1)
    return f((torch.einsum("bkn,bcn->bkc", near, x) - near.sum(-1, keepdim=True)).flatten(1))


def padded(a, b, f, x):
    return f(F.relu(b(torch.cat([F.relu(a(x)), torch.zeros(len(x), 2, 8, 8)], 1))).mean((2, 3)))


def one_weight():
    layers = nn.Linear(192, 16), nn.Linear(16, 16), nn.Linear(16, 16)
    layers[2].weight = layers[1].weight
    return layers


def hooked():
    """Layers whose weights old hooks compute, and keep with their gradients."""
    layers = nn.utils.weight_norm(nn.Linear(192, 16)), nn.utils.spectral_norm(nn.Linear(16, 16))
    for layer in layers:
        layer(torch.ones(1, layer.in_features))
    return layers


OTHERS = {
    "pixel_shuffle": lambda: Net(lambda a, b, f, x: f(F.relu(b(F.relu(F.pixel_shuffle(a(x), 2)))).mean((2, 3))), conv(3, 16), conv(4, 8), nn.Linear(8, 3)),
    "standardised": lambda: Net(lambda a, b, f, x: f(F.relu(b(F.relu(a(x)))).mean((2, 3))), Standardised(3, 8, 3), conv(8, 8), nn.Linear(8, 3)),
    "concatenated": lambda: Net(concatenated, conv(3, 8), conv(11, 8), nn.Linear(19, 3)),
    "halves": lambda: Net(halves, conv(3, 16), conv(8, 8), nn.Linear(16, 3)),
    "shuffled": lambda: Net(shuffled, conv(3, 8), conv(8, 8, groups=2), nn.Linear(8, 3)),
    "own masks": lambda: Net(lambda a, b, x: b(F.relu(a(x.flatten(1)))), Masked(192, 16), Masked(16, 3)),
    "shared": lambda: Net(lambda a, b, f, x: f(F.relu(b(F.relu(b(F.relu(a(x)))))).mean((2, 3))), conv(3, 8), conv(8, 8), nn.Linear(8, 3)),
    "gate": lambda: Net(lambda a, g, f, x: f((F.relu(a(x)) * g(x.mean((2, 3))).sigmoid()[..., None, None]).mean((2, 3))), conv(3, 8), nn.Linear(3, 8), nn.Linear(8, 3)),
    "weight norm": lambda: Net(lambda a, b, x: b(F.relu(a(x.flatten(1)))), nn.utils.parametrizations.weight_norm(nn.Linear(192, 16)), nn.Linear(16, 3)),
    "computed by hooks": lambda: Net(lambda a, b, c, x: c(F.relu(b(F.relu(a(x.flatten(1)))))), *hooked(), nn.Linear(16, 3)),
    "recurrent": lambda: Net(lambda a, r, f, x: f(r(F.relu(a(x)).flatten(2))[0][:, -1]), conv(3, 8), nn.GRU(64, 8, batch_first=True), nn.Linear(8, 3)),
    "maxima": lambda: Net(maxima, conv(3, 8), conv(8, 8), nn.Linear(8, 3)),
    "residuals to centres": lambda: Net(centres, conv(3, 8), nn.Conv2d(8, 4, 1), nn.Linear(32, 3)),
    "made in the pass": lambda: Net(padded, conv(3, 8), conv(10, 8), nn.Linear(8, 3)),
    "one weight": lambda: Net(lambda a, b, c, f, x: f(F.relu(c(F.relu(b(F.relu(a(x.flatten(1)))))))), *one_weight(), nn.Linear(16, 3)),
    "transposed": lambda: Net(lambda a, t, f, x: f(F.relu(t(F.relu(a(x)))).mean((2, 3))), conv(3, 8), nn.ConvTranspose2d(8, 8, 2, 2), nn.Linear(8, 3)),
}  # fmt: skip
SMALLER = ("shared", "gate", "made in the pass", "pixel_shuffle", "standardised")  # the others stay as they are


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_understood_stays(name):
    """Networks in which units do not belong together as the layers' order suggests; the small one is the same function."""
    torch.manual_seed(0)
    model, shape = OTHERS[name]().eval(), (3, 8, 8)
    prunables = add_masks(model)
    draws = torch.Generator().manual_seed(1)
    for p in prunables[:-1]:
        rows = torch.rand(len(p.mask), generator=draws) < 0.5
        p.mask.mul_(rows.view(-1, *[1] * (p.mask.dim() - 1)))
        if isinstance(getattr(p.module, "bias", None), torch.Tensor):
            p.module.bias.data[~rows] = 0
    prunables[-1].mask[:, ::2] = 0
    apply_masks(prunables)
    assert has_path(model, prunables, shape)
    small = compact(model, prunables, find_paths(model, prunables, shape), shape)
    assert largest_difference(model, small.model, torch.rand(4, *shape)) < 1e-9
    assert (sum(p.numel() for p in small.model.parameters()) < sum(p.numel() for p in model.parameters())) == (name in SMALLER)


def test_a_network_that_cannot_be_copied_is_refused_by_the_layer():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    prunables = add_masks(model)
    prunables[0].mask[0] = 0
    apply_masks(prunables)
    paths = find_paths(model, prunables, (4,))
    model[1].scale = model[1].weight * 2
    with pytest.raises(RuntimeError, match="layer 1 holds"):
        compact(model, prunables, paths, (4,))


def test_channels_are_cut_around_a_channel_shuffle():
    """ShuffleNet, of whose shuffle torch-pruning counts no channels."""
    torch.manual_seed(0)
    model, shape = ShuffleNetV2([1, 2, 1], [8, 16, 16, 16, 32], num_classes=3).eval(), (3, 32, 32)
    prunables = add_masks(model)
    prunables[-1].mask[:, ::2] = 0
    apply_masks(prunables)
    small = compact(model, prunables, find_paths(model, prunables, shape), shape)
    assert (
        small.model.get_submodule("conv5.0").out_channels == 16
        and largest_difference(model, small.model, torch.rand(2, *shape)) < 1e-9
    )


def test_a_network_that_cannot_be_traced_is_refused_by_the_layer():
    class Fixed(nn.Module):
        def forward(self, x):
            return F.linear(x, torch.ones(4, 4, dtype=torch.float32))

    model = nn.Sequential(nn.Linear(4, 4), Fixed(), nn.Linear(4, 2))
    prunables = add_masks(model)
    paths = find_paths(model, prunables, (4,))
    with pytest.raises(RuntimeError, match="its layer 1 ran last"):
        compact(model, prunables, paths, (4,))


class MultipliesByItsMask(nn.Linear):
    """A layer of a user's, which has a mask of its own and reads it, as Synaptic-Flow's do."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("weight_mask", torch.ones_like(self.weight))

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.weight_mask, self.bias)


def test_a_copy_without_masks_still_computes():
    net = nn.Sequential(nn.Linear(4, 4), MultipliesByItsMask(4, 3))
    prunables = add_masks(net)
    plain = copy.deepcopy(net)
    remove_masks(plain, prunables)
    assert [name for name, _ in plain.named_buffers()] == ["1.weight_mask"]
    assert torch.equal(plain(torch.ones(2, 4)), net(torch.ones(2, 4)))
