"""Effective masks: a mask without the weights that lie on no path from the input to the output.

A unit (a channel, or an output of a linear layer) is live when a path of kept weights leads to it from the input and another
from it to the output. All other units are dead, and no weight that touches a dead unit changes the output. The share of weights
that touch live units alone is the effective density (Vysogorets and Kempe 2021, "Connectivity matters: neural network pruning
through the lens of effective sparsity", arXiv 2107.02306).

Paths are those of the data (see `Models/flow.py`): values decide nothing. A kernel connects two channels if any of its taps is
kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from Models.flow import FAILURES, Flow, follow
from Models.layers import Identity2d
from Models.masking import Prunable
from Models.tape import record
from Utils.base.errors import out_of_memory

CONNECTING = nn.Linear | nn.modules.conv._ConvNd
NORMS = (
    nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.RMSNorm | nn.GroupNorm | nn.modules.instancenorm._InstanceNorm
)  # fmt: skip


@dataclass(frozen=True)
class Paths:
    """The entries of a network's parameters that lie on a path from its input to its output, by full parameter name.

    Attributes:
        live: for every parameter the entries on a path: bool, the parameter's shape. A bias, and a scale or shift of a norm, is
            live when its unit is.
        heard: for the weight of every layer that was used the units from which a path leads to the output: bool [units].
        unused: the parameters that the output in eval mode does not depend on, whatever the masks.
    """

    live: Mapping[str, torch.Tensor]
    heard: Mapping[str, torch.Tensor]
    unused: frozenset[str] = frozenset()


def find_paths(model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]) -> Paths:
    """Follow the paths of kept weights through `model` for images of `input_shape`; the network does not change.

    A constant that the network joins to numbers of the image, such as a class token, leads to the output as these do. BatchNorm
    passes each unit on by itself; in other norms a path leads from every unit to all that are normalised with it. Of
    parameters outside layers and norms that have no mask all entries are live. All kept entries are live in a network whose
    forward pass fails, and in one that hands numbers which depend on the image to Python or numpy.
    """
    masks = {p.name: p.mask for p in prunables}
    try:
        tape = record(model, input_shape)
        with torch.enable_grad():
            leaves = _leaves(model, masks)
            flow = follow(tape, _expanded(model, leaves))
            gradients, heard = _gradients(flow, leaves)
            if flow.joined and (output := flow.output()) is not None:
                more = _gradients(Flow(tape, _expanded(model, leaves), flow.strict, constants=True), leaves)
                reached = (output > 0).any()  # a network without a path of the image's is constant
                gradients = {name: gradient + more[0][name] * reached for name, gradient in gradients.items()}
                heard = {name: units | (more[1][name] & reached) for name, units in heard.items()}
    except FAILURES as error:
        if out_of_memory(error):
            raise
        return Paths({n: _kept(t, masks.get(n)) for n, t in model.named_parameters()}, {})
    unused = frozenset() if tape.leaving else frozenset(leaves) - tape.used()
    left = flow.left()
    live: dict[str, torch.Tensor] = {}
    tensors, owners = dict(model.named_parameters()), _owners(model)
    for name in sorted(leaves, key=lambda n: n.endswith("bias")):  # a bias asks for its weight
        kept = _kept(tensors[name], masks.get(name))
        if name in unused:
            live[name] = torch.zeros_like(kept)
            continue
        live[name] = kept & _on_path(owners[name], name, gradients.get(name), kept, live)
        if left is not None:
            live[name] = live[name] | (kept & (left > 0))
    return Paths({name: live[name] for name in leaves}, heard, unused)


def connections(model: nn.Module, prunables: Sequence[Prunable]) -> dict[str, torch.Tensor]:
    """Return for each parameter, by full name, one where it may be other than zero: float32, the parameter's shape."""
    return _expanded(model, _leaves(model, {p.name: p.mask for p in prunables}))


def _kept(tensor: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the entries of a parameter that its mask keeps."""
    return torch.ones(tensor.shape, dtype=torch.bool, device=tensor.device) if mask is None else mask != 0


def _owners(model: nn.Module) -> dict[str, nn.Module]:
    """Find the module of each parameter, by full name."""
    names = ((f"{name}." if name else "", module) for name, module in model.named_modules(remove_duplicate=False))
    return {f"{prefix}{param}": module for prefix, module in names for param in module._parameters}


def _leaves(model: nn.Module, masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Make the tensors that the connections are expanded from: of a kernel one number, and of parameters without gradients."""
    leaves, owners = {}, _owners(model)
    for name, tensor in model.named_parameters():
        mask = masks.get(name)
        is_weight, owner = name.endswith("weight"), owners[name]
        kernel = is_weight and isinstance(owner, nn.modules.conv._ConvNd)
        asked = mask is not None or (is_weight and isinstance(owner, CONNECTING | NORMS | Identity2d))
        if mask is not None:
            leaf = (_any_tap(mask != 0) if kernel else mask != 0).to(torch.float32)
        else:
            shape = [*tensor.shape[:2], *[1] * (tensor.dim() - 2)] if kernel else tensor.shape
            leaf = torch.ones(shape if asked else (), device=tensor.device)
        leaves[name] = leaf.requires_grad_(asked and torch.is_grad_enabled())
    return leaves


def _expanded(model: nn.Module, leaves: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: leaves[name].expand(tensor.shape) for name, tensor in model.named_parameters()}


def _gradients(flow: Flow, leaves: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Go back from the output: the gradients of `leaves`, and the units of each layer that the output depends on."""
    asked = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    output = flow.output()
    if output is None or not output.requires_grad:
        found = [torch.zeros_like(t) for t in (*asked.values(), *(end for _, end in flow.ends))]
    else:
        found = list(
            torch.autograd.grad(
                output.sum(), [*asked.values(), *(end for _, end in flow.ends)], allow_unused=True, materialize_grads=True
            )
        )
    heard: dict[str, torch.Tensor] = {}
    for (name, _), gradient in zip(flow.ends, found[len(asked) :], strict=True):
        heard[name] = (gradient != 0) | heard.get(name, torch.zeros_like(gradient, dtype=torch.bool))
    return dict(zip(asked, found, strict=False)), heard


def _on_path(
    owner: nn.Module, name: str, gradient: torch.Tensor | None, kept: torch.Tensor, live: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Return the entries of a parameter on a path, from the gradient of its connections and the live entries of weights."""
    weight = f"{name.removesuffix('bias')}weight"
    if name.endswith("bias") and isinstance(owner, CONNECTING | NORMS) and weight in live:
        found = live[weight].flatten(1).any(1) if isinstance(owner, CONNECTING) else live[weight]
        return torch.ones_like(kept) if getattr(owner, "transposed", False) else found
    if gradient is None or "bias" in name.rpartition(".")[2]:
        return torch.ones_like(kept)
    return (gradient != 0).expand(kept.shape)


def _any_tap(connected: torch.Tensor) -> torch.Tensor:
    """Tell whether any tap of a kernel is set: [units, inputs, ...] -> [units, inputs, 1, ...]."""
    for dimension in range(2, connected.dim()):
        connected = connected.any(dimension, keepdim=True)
    return connected
