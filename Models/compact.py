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

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch_pruning import BasePruningFunc
from torch_pruning.dependency import Group
from torch_pruning.ops import OPTYPE

from Models.difference import copied, largest_difference
from Models.effective import Paths
from Models.flow import FAILURES
from Models.layer_graph import LayerGraph, layer_graph
from Models.layers import Identity2d
from Models.masking import Prunable, remove_masks
from Models.wanted_channels import wanted_channels
from Utils.base.errors import out_of_memory

Places = dict[str, torch.Tensor]
NORMS = nn.modules.batchnorm._BatchNorm
AGREE = 1e-5  # share of the largest output
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

    Where torch-pruning misjudges which channels belong together, such as behind a pixel shuffle, the network that it has cut
    fails or computes something else. Then each group of layers is cut by itself, and the groups that pass are cut together.

    Raises:
        RuntimeError: torch-pruning cannot follow this network, or cut it; the message names the layers.
    """
    wanted = wanted_channels(model, prunables, paths, input_shape)
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(2, *input_shape, generator=draws).to(next(model.parameters()).device)

    def attempt(chosen: Collection[int] | None) -> tuple[Compact | None, list[str]]:
        small, layers = _cut(model, prunables, wanted, input_shape, chosen)
        return (small if _agree(model, small, images) else None), layers

    small, layers = attempt(None)
    if small is not None:
        return small
    sound = [place for place in range(len(layers)) if attempt([place])[0] is not None]
    small, _ = attempt(sound)
    if small is None:
        if not layers:
            raise RuntimeError("a copy of it in float64 does not compute what it does")
        raise RuntimeError(f"its layers {', '.join(layers)} cannot lose their dead units together")
    return small


def _agree(model: nn.Module, small: Compact | None, images: torch.Tensor) -> bool:
    """Tell whether the cut network runs and computes what `model` does; None stands for one that could not be cut."""
    try:
        return small is not None and largest_difference(model, small.model, images) <= AGREE
    except FAILURES as error:
        if out_of_memory(error):
            raise
        return False


def _cut(
    model: nn.Module, prunables: Sequence[Prunable], wanted: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    input_shape: tuple[int, ...], chosen: Collection[int] | None,
) -> tuple[Compact | None, list[str]]:  # fmt: skip
    """Cut the dead units of the `chosen` groups of layers, None for all; list the groups by the layer that each begins with."""
    index = _places_for_values(model, prunables)
    names = {module: name for name, module in index.named_modules()}
    example = torch.zeros(2, *input_shape, dtype=torch.float64, device=next(model.parameters()).device)
    graph = layer_graph(index, example, {Identity2d: _IdentityCutter()})
    cuts = []
    try:
        for group in graph.get_all_groups():
            if dead := _dead_channels(graph, group, names, wanted):
                cuts.append((group[0].dep.target.module, group[0].dep.handler, dead))
    except FAILURES as error:  # the graph fails on its own groups, as of concatenated inputs: the others stay
        if out_of_memory(error):
            raise
    layers = [names[module] for module, _, _ in cuts]
    try:
        for place, cut in enumerate(cuts):
            if chosen is None or place in chosen:
                graph.get_pruning_group(*cut).prune()
        return _with_values(index, model, prunables), layers
    except FAILURES as error:
        if out_of_memory(error):
            raise
        return None, layers


def _places_for_values(model: nn.Module, prunables: Sequence[Prunable]) -> nn.Module:
    """Copy `model` without masks, each float tensor filled with its own flat places; float64 is exact below 2^53."""
    for name, module in model.named_modules():
        own = module._parameters.keys()
        computed = [key for key, value in vars(module).items() if isinstance(value, torch.Tensor) and not value.is_leaf]
        if held := [key for key in computed if own.isdisjoint({f"{key}_orig", f"{key}_v"})]:  # other than by torch's hooks
            raise RuntimeError(f"its layer {name} holds {held[0]}, a tensor computed from a parameter")
    index = copied(model).double()
    remove_masks(index, prunables)
    with torch.no_grad():
        for tensor in index.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.arange(tensor.numel(), device=tensor.device).view(tensor.shape))
    for tensor in index.parameters():
        tensor.requires_grad_()  # else the graph does not see it
    return index


def _dead_channels(
    graph: LayerGraph, group: Group, names: Mapping[nn.Module, str], wanted: Mapping[str, tuple[torch.Tensor, torch.Tensor]]
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
        if max(item.idxs, default=0) >= len(mine):  # the graph misjudges the channels in between
            return []
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
