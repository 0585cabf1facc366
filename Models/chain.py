"""Networks that are chains of linear layers with ReLU between them, which several can be computed as one."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

PLAIN = (nn.Sequential, nn.Flatten, nn.Linear, nn.ReLU)  # classes of which a chain consists; no subclasses


def linear_chain(model: nn.Module) -> list[nn.Linear] | None:
    """Return the layers of a network that flattens its images and applies linear layers, with a ReLU after each but the last.

    None for every other network, and for one whose layers share weights, have hooks, or own other parameters.
    """
    parts = list(_parts(model))
    if any(type(part) not in PLAIN or _hooked(part) for part in (*parts, *model.modules())):
        return None
    if not parts or type(parts[0]) is not nn.Flatten or (parts[0].start_dim, parts[0].end_dim) != (1, -1):
        return None
    kinds = [type(part) for part in parts[1:]]
    layers = [part for part in parts if isinstance(part, nn.Linear)]
    if not layers or kinds != [nn.Linear, nn.ReLU] * (len(layers) - 1) + [nn.Linear]:
        return None
    owned = [id(tensor) for layer in layers for tensor in (layer.weight, layer.bias) if tensor is not None]
    trained = all(tensor.requires_grad and not _followed(tensor) for tensor in model.parameters())
    return layers if trained and len(set(owned)) == len(owned) == len(list(model.parameters())) else None


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of nested `Sequential`s in the order in which they are called."""
    if type(module) is nn.Sequential:
        for child in module:
            yield from _parts(child)
    else:
        yield module


def _hooked(module: nn.Module) -> bool:
    hooks = module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    return bool(hooks) or "forward" in vars(module)


def _followed(tensor: torch.Tensor) -> bool:
    """Tell whether something is called with the gradients of a parameter."""
    return bool(tensor._backward_hooks or getattr(tensor, "_post_accumulate_grad_hooks", None))
