"""A network without its dead units: smaller layers that compute the same function, in training and in evaluation.

`Models/effective.py` finds the dead units. The dependency graph of torch-pruning finds the layers that have to give up a channel
together (residual streams, depthwise convolutions, a flattened map before a linear layer), and cuts them. It cuts a copy whose
tensors hold places instead of values, so that afterwards the place in the large network is known for every number of the small
one.

A unit that no path leads to may still put out a constant, from its bias or the shift of its norm. The unit stays if that constant
can reach the output through a kept weight; otherwise removing it changes nothing, in any mode. These stay too: one channel of a
layer without live units, the outputs of the network, and channels that a layer other than Conv, Linear, BatchNorm and
`Identity2d` reads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch_pruning import BasePruningFunc, DependencyGraph
from torch_pruning.dependency import Group
from torch_pruning.ops import OPTYPE

from Models.effective import Paths
from Models.layers import Identity2d
from Models.masking import Prunable
from Models.shapes import eval_mode

Places = dict[str, torch.Tensor]
NORMS = nn.modules.batchnorm._BatchNorm
ROUNDING = 1e-6  # of the terms of a sum that may be zero
CUT = nn.Conv2d | nn.Linear | NORMS | Identity2d
BETWEEN = {OPTYPE.ELEMENTWISE, OPTYPE.RESHAPE, OPTYPE.CONCAT}  # what may lie between the layers of a group


@dataclass(frozen=True)
class Compact:
    """A network without dead units, and where its numbers stand in the network that it was made from.

    Attributes:
        model: the small network, with the values, masks, modes and device of the large one.
        prunables: its masked parameters, in the order of the large one.
        places: for each tensor of the `state_dict` the places of its numbers in the large tensor, flat: int64, small shape.
    """

    model: nn.Module
    prunables: list[Prunable]
    places: Mapping[str, torch.Tensor]

    def shrink(self, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Turn a `state_dict` of the large network into one of the small network."""
        return {n: picked(t, self.places[n]) if n in self.places else t for n, t in state.items()}

    def expand(self, state: Mapping[str, torch.Tensor], large: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Write a `state_dict` of the small network into a copy of `large`, a `state_dict` of the large network."""
        whole = {name: tensor.clone() for name, tensor in large.items()}
        for name, tensor in state.items():
            own = whole[name]
            if name in self.places:
                at = self.places[name].flatten().to(own.device)
                whole[name] = own.flatten().index_copy(0, at, tensor.flatten().to(own)).view(own.shape)
            else:
                own.copy_(tensor)
        return whole


def picked(tensor: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the numbers of `tensor` at flat `places`, in the shape of `places`; the two may lie on different devices."""
    return tensor.flatten()[places.to(tensor.device)]


def compact(model: nn.Module, prunables: Sequence[Prunable], paths: Paths, input_shape: tuple[int, ...]) -> Compact:
    """Build `model` without its dead units; `model` itself does not change. Masked weights must be zero.

    Raises:
        RuntimeError: torch-pruning cannot follow this network, or cut it.
    """
    index = _places_for_values(model, prunables)
    names = {module: name for name, module in index.named_modules()}
    example = torch.zeros(2, *input_shape, dtype=torch.float64, device=next(model.parameters()).device)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        graph = DependencyGraph().build_dependency(
            index, example, customized_pruners={Identity2d: _IdentityCutter()}, verbose=False
        )
    wanted = _wanted(model, prunables, paths, input_shape)
    cuts = []
    for group in graph.get_all_groups():
        if dead := _dead_channels(graph, group, names, wanted):
            cuts.append((group[0].dep.target.module, group[0].dep.handler, dead))
    for module, handler, dead in cuts:
        graph.get_pruning_group(module, handler, dead).prune()
    return _with_values(index, model, prunables)


def _places_for_values(model: nn.Module, prunables: Sequence[Prunable]) -> nn.Module:
    """Copy `model` without masks, each float tensor filled with its own flat places; float64 is exact below 2^53."""
    index = copy.deepcopy(model).double()
    for p in prunables:
        delattr(index.get_submodule(p.module_name), f"{p.param}_mask")
    with torch.no_grad():
        for tensor in index.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape))
    for tensor in index.parameters():
        tensor.requires_grad_()  # else the graph does not see it
    return index


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


def _wanted(
    model: nn.Module, prunables: Sequence[Prunable], paths: Paths, input_shape: tuple[int, ...]
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Find the units and the inputs of each layer, by its name, that the layer needs: bool [units], bool [inputs]."""
    masks = {p.name: p.mask for p in prunables}
    wanted = {}
    for name, said in _said(model, input_shape).items():
        weight = f"{name}.weight" if name else "weight"
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


def _dead_channels(
    graph: DependencyGraph, group: Group, names: Mapping[nn.Module, str], wanted: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
) -> list[int]:
    """List the channels of a group, numbered as in its first layer, that all its layers can lose; one always stays."""
    channels = set(group[0].idxs)
    stay: set[int] = set()
    listeners = 0
    for item in group:
        node, layer = item.dep.target, item.dep.target.module
        if not (node.type in BETWEEN or isinstance(layer, CUT)):
            return []
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if isinstance(layer, nn.Conv2d) and layer.groups > 1 and not layer.groups == layer.in_channels == layer.out_channels:
            return []
        if names[layer] not in wanted:
            return []
        listens = not isinstance(layer, Identity2d) and graph.is_in_channel_pruning_fn(item.dep.handler)
        listeners += listens
        mine = wanted[names[layer]][listens].tolist()
        stay |= {root for place, root in zip(item.idxs, item.root_idxs, strict=True) if mine[place]}
    dead = sorted(channels - stay)
    if not listeners:  # what the network puts out
        return []
    return dead[1:] if len(dead) == len(channels) else dead


class _IdentityCutter(BasePruningFunc):
    """The rule by which torch-pruning cuts channels of `Identity2d`."""

    def prune_out_channels(self, layer: Identity2d, idxs: Sequence[int]) -> nn.Module:
        """Cut the channels `idxs`."""
        keep = [i for i in range(layer.num_features) if i not in set(idxs)]
        layer.weight = nn.Parameter(layer.weight.detach()[keep])
        layer.num_features = len(keep)
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Identity2d) -> int:
        """Return the number of channels."""
        return layer.num_features

    get_in_channels = get_out_channels


def _with_values(index: nn.Module, model: nn.Module, prunables: Sequence[Prunable]) -> Compact:
    """Replace the places in the small network by the values that the large network has there."""
    places = {name: t.detach().long() for name, t in index.state_dict().items() if t.is_floating_point()}
    small, large = index.float(), model.state_dict()
    with torch.no_grad():
        for name, tensor in small.state_dict().items():
            tensor.copy_(picked(large[name], places[name]) if name in places else large[name])
    for name, module in model.named_modules():
        small.get_submodule(name).training = module.training
    for name, tensor in model.named_parameters():
        small.get_parameter(name).requires_grad_(tensor.requires_grad)
    own = []
    for p in prunables:
        own.append(Prunable(small.get_submodule(p.module_name), p.module_name, p.param))
        own[-1].module.register_buffer(f"{p.param}_mask", picked(p.mask, places[p.name]))
        places[f"{p.name}_mask"] = places[p.name]
    return Compact(small, own, places)
