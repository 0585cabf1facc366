"""The memory format of a network in training: that of the card's tensor cores, and back to the usual one afterwards.

Tensor cores read convolutions channels last; in the usual format cuDNN would transpose every weight and image in each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def in_layout(model: nn.Module, optimizer: torch.optim.Optimizer, layout: torch.memory_format) -> Iterator[None]:
    """Keep the weights of convolutions, their masks and their state in `optimizer` in `layout`; afterwards in the usual format.

    Parameters and masks stay the same objects, with memory of their own, so that hooks and the optimizer find them. A graph
    that was captured inside is of no use outside. Numbers do not change; sums of them may, in the last digits, which is why
    scores see the usual format.
    """
    if layout == torch.contiguous_format:
        yield
        return
    _convert(model, optimizer, layout)
    try:
        yield
    finally:
        _convert(model, optimizer, torch.contiguous_format)


def _convert(model: nn.Module, optimizer: torch.optim.Optimizer, layout: torch.memory_format) -> None:
    """Convert the convolutions of `model`, in place; a class with a forward pass of its own may rely on the usual format."""
    for module in model.modules():
        if type(module).forward is not nn.Conv2d.forward or module._parameters.get("weight") is None:
            continue
        weight = module.weight
        for tensor in (weight, module._buffers.get("weight_mask")):
            if tensor is not None:
                tensor.data = tensor.data.contiguous(memory_format=layout)
        weight.grad = None  # the next step makes it anew, in the format of the weight
        state = optimizer.state.get(weight, {})
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                state[name] = value.contiguous(memory_format=layout)
