"""The difference between the outputs of two networks that should compute the same."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

NORMS = nn.modules.batchnorm._BatchNorm


def largest_difference(large: nn.Module, small: nn.Module, images: torch.Tensor) -> float:
    """Return the largest difference of two networks' outputs for `images` [B, C, H, W], over the largest output.

    Computed in float64, in evaluation and with the batch statistics of training; dropout is off. Neither network changes.
    """
    worst = 0.0
    for training in (False, True):
        with float64():
            a, b = (_outputs(copied(network).double(), images.double(), training) for network in (large, small))
        worst = max(worst, float((a - b).abs().amax() / a.abs().amax().clamp(min=1e-300)))
    return worst


def copied(network: nn.Module) -> nn.Module:
    """Copy a network, also one whose hooks keep a weight that they have computed, as those of `torch.nn.utils.weight_norm`."""
    tensors = (value for module in network.modules() for value in vars(module).values() if isinstance(value, torch.Tensor))
    return copy.deepcopy(network, {id(tensor): tensor.detach().clone() for tensor in tensors if not tensor.is_leaf})


@torch.no_grad()
def _outputs(model: nn.Module, images: torch.Tensor, training: bool) -> torch.Tensor:
    for module in model.modules():
        module.training = training and isinstance(module, NORMS)
    output = model(images)
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def float64() -> Iterator[None]:
    """Let tensors that a forward pass makes be float64 where they would be float32."""
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        yield
    finally:
        torch.set_default_dtype(before)
