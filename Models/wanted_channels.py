"""The channels that the layers of a network need: those on a path, and those that put out a constant which is heard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from Models.effective import Paths
from Models.masking import Prunable
from Models.shapes import eval_mode

NORMS = nn.modules.batchnorm._BatchNorm
ROUNDING = 1e-6  # of the terms of a sum that may be zero


def _said(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Find the inputs of each layer, by its name, that are not zero in evaluation or in training: bool [inputs].

    One batch is enough for the units that no path leads to, because their outputs are the same constant for every image.
    """
    heard: dict[str, torch.Tensor] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            x = inputs[0].detach()
            x = x.reshape(-1, x.shape[-1]) if isinstance(module, nn.Linear) else x.transpose(0, 1).flatten(1).t()
            told = (x != 0).any(0)
            heard[name] = told | heard.get(name, torch.zeros_like(told))

        return hook

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_pre_hook(note(name)) for name, module in layers]
    handles += [module.register_forward_hook(_without_rounding) for module in model.modules() if isinstance(module, NORMS)]
    images = torch.ones(2, *input_shape, device=next(model.parameters()).device)
    try:
        with eval_mode(model), torch.no_grad(), torch.random.fork_rng(devices=[]):
            for training in (False, True):
                for module in model.modules():
                    module.training = training and isinstance(module, NORMS)  # dropout would hide constants
                torch.func.functional_call(model, {n: t.clone() for n, t in model.named_buffers()}, (images,))
    finally:
        for handle in handles:
            handle.remove()
    return heard


def _without_rounding(norm: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """Return the output of a norm with rounding errors removed, so that a channel that is exactly zero in theory is zero.

    In training the output of a constant channel is its shift; in evaluation a sum far below its terms is zero.
    """
    x, shape = inputs[0], [-1 if d == 1 else 1 for d in range(output.dim())]
    shift = torch.zeros_like(output) if norm.bias is None else norm.bias.view(shape)
    if norm.training or norm.running_mean is None:
        dims = [d for d in range(x.dim()) if d != 1]
        low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
        return torch.where(high - low <= ROUNDING * torch.maximum(high.abs(), low.abs()), shift, output)
    scale = (norm.running_var + norm.eps).rsqrt() * (1.0 if norm.weight is None else norm.weight.abs())
    terms = scale.view(shape) * (x.abs() + norm.running_mean.abs().view(shape)) + shift.abs()
    return torch.where(output.abs() <= ROUNDING * terms, 0.0, output)


def wanted_channels(
    model: nn.Module, prunables: Sequence[Prunable], paths: Paths, input_shape: tuple[int, ...]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Find the units and the inputs of each layer, by its name, that the layer needs: bool [units], bool [inputs].

    A layer whose weight does not reach the product as it is, such as a standardised one, needs all. One that shares its weight
    with another layer is left out, because a cut would part the two.
    """
    masks = {p.name: p.mask for p in prunables}
    owners = Counter(id(m._parameters.get("weight")) for m in model.modules())
    wanted = {}
    for name, said in _said(model, input_shape).items():
        weight = f"{name}.weight" if name else "weight"
        if owners[id(model.get_submodule(name)._parameters.get("weight"))] > 1:
            continue
        if weight not in paths.live or weight not in paths.heard:
            units = torch.ones(len(model.get_submodule(name).weight), dtype=torch.bool, device=said.device)
            wanted[name] = (units, torch.ones_like(said))
            continue
        live = paths.live[weight].flatten(2) if paths.live[weight].dim() > 2 else paths.live[weight][..., None]
        kept = (masks[weight] != 0).view(live.shape) if weight in masks else torch.ones_like(live)
        units, inputs = live.any(2).any(1), live.any(2).any(0)
        listening = kept.any(2) & paths.heard[weight][:, None]  # [units, inputs of a group]
        if live.shape[1] == len(said):
            inputs = inputs | (listening.any(0) & said)
        elif live.shape[1] == 1 and len(units) == len(said):  # depthwise: a unit has an input of its own
            inputs = units = units | (listening.any(1) & said)
        else:  # other grouped layers are never cut
            units, inputs = torch.ones_like(units), torch.ones_like(said)
        wanted[name] = (units, inputs)
    return wanted
