"""Problems for pruners to score, and a network with batch norm."""

from __future__ import annotations

import torch
from torch import nn

from Models.masking import add_masks
from Pruners._shared.problem import Problem


def problem(model, shape=(2,), batches=None, **kwargs):
    return Problem(model, add_masks(model), shape, read_batches=None if batches is None else lambda: batches, **kwargs)


def batch_norm_net():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
    net = nn.Sequential(conv, norm, nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 3))
    net[1].running_mean.normal_()
    net[1].bias.data.normal_()
    return net
