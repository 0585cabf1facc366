"""Masks must hold in the forward: a network that makes masked weights nonzero on the way to a product is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from Models.holding import broken_masks
from Models.masking import add_masks

IMAGE = (1, 8, 8)
FILE = """
from torch import nn
class Standardised(nn.Conv2d):
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, w / (w.std((1, 2, 3), keepdim=True) + 1e-5), self.bias)
def net(shape, classes):
    return nn.Sequential(Standardised(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""


def standardised(w):
    """Centre each kernel (BiT, NFNet)."""
    return w - w.mean((1, 2, 3), keepdim=True)


def by_batch_norm(w):
    """Standardise each kernel as timm does."""
    return F.batch_norm(w.reshape(1, len(w), -1), None, None, training=True).reshape_as(w)


def binary(w):
    """Return one or minus one, never zero."""
    return torch.where(w >= 0, 1.0, -1.0)


def in_place(w):
    """Shift a copy in place."""
    return w.clone().add_(0.5)


def fused(w):
    """Add an identity, as RepVGG does for deployment."""
    return w + F.pad(torch.ones(8, 1, 1, 1), [1, 1, 1, 1])


def normalised(w):
    """Divide each kernel by its norm."""
    return F.normalize(w.flatten(1), dim=1).view_as(w)


def half(w):
    """Round to half precision."""
    return w.half().float()


def scaled(w):
    """Scale, mirror and pad."""
    return F.pad((w * torch.arange(1.0, 9.0).view(-1, 1, 1, 1)).flip(3), [1, 1, 1, 1])


def added_up(w):
    """Add up each kernel: not to be compared entry by entry."""
    return w.sum((2, 3), keepdim=True)


class Changed(nn.Conv2d):
    """A convolution with a function of its weight."""

    def __init__(self, change):
        super().__init__(1, 8, 3)
        self.change = change

    def forward(self, x):
        return F.conv2d(x, self.change(self.weight), self.bias)


@pytest.mark.parametrize("change", [standardised, by_batch_norm, binary, in_place, fused, F.softplus])
@pytest.mark.parametrize("zero", [False, True])
def test_changed_weights_are_found(change, zero):
    model = nn.Sequential(Changed(change), nn.Flatten(), nn.Linear(288, 3))
    if zero:
        nn.init.zeros_(model[0].weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert broken_masks(model, add_masks(model), IMAGE) == ["0.weight"]
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("change", [normalised, half, scaled, added_up, torch.clone])
def test_masks_that_hold_are_not_refused(change):
    model = nn.Sequential(Changed(change), nn.AdaptiveAvgPool2d(6), nn.Flatten(), nn.Linear(288, 3))
    assert broken_masks(model, add_masks(model), IMAGE) == []


def test_a_network_with_standardised_weights_is_refused(refused):
    Path("ws.py").write_text(FILE)
    words = ["--experiment", "prune", "--dataset", "synthetic:1x8x8:3:60", "--model", "ws.py:net", "--pruner", "mag"]
    refused([*words, "--sparsity", "0.5"], "--model ws.py:net", "the masks of 0 would not hold", "standardisation")
