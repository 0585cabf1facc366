"""The graph of torch-pruning that tells which layers lose channels together: bounded, and with errors that name a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch_pruning import BasePruningFunc, DependencyGraph
from torch_pruning.dependency import Group, index_mapping
from torch_pruning.dependency import graph as graph_module

from Models.difference import float64
from Models.flow import FAILURES
from Utils.base.errors import out_of_memory

MOST_STEPS = 10  # of one group, for each link of the graph; densenet121, with its many concatenations, takes 0.1


def layer_graph(model: nn.Module, images: torch.Tensor, pruners: Mapping[type[nn.Module], BasePruningFunc]) -> LayerGraph:
    """Trace `model`, whose tensors are float64, on `images` and return its graph; `pruners` cut layers that torch does not have.

    Raises:
        RuntimeError: torch-pruning cannot follow the network; the message names the layer that ran last.
    """
    graph, ran = LayerGraph(), [""]
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not any(module.children()):
                note = module.register_forward_pre_hook(lambda _module, _inputs, name=name: ran.append(name))
                stack.callback(note.remove)
        for context in (torch.enable_grad(), torch.random.fork_rng(devices=[]), float64(), _unmapped()):
            stack.enter_context(context)
        try:
            graph.build_dependency(model, images, customized_pruners=dict(pruners), verbose=False)
        except (*FAILURES, ArithmeticError) as error:
            if out_of_memory(error):
                raise
            why = " ".join(str(error).split()).rstrip(".")
            place = f"its layer {ran[-1]} ran last" if ran[-1] else "it fails before its first layer"
            raise RuntimeError(f"torch-pruning cannot follow it to the end: {place} ({why})") from error
    links = sum(len(node.dependencies) for node in graph.module2node.values())
    graph.group = partial(_BoundedGroup, MOST_STEPS * links, max(max(t.shape, default=1) for t in model.parameters()))
    return graph


class LayerGraph(DependencyGraph):
    """The graph; a group of layers in which torch-pruning goes round for ever is an error.

    Attributes:
        group: makes an empty group.
    """

    group: Callable[[], Group] = Group

    def get_pruning_group(self, module: nn.Module, pruning_fn: Any, idxs: Sequence[int]) -> Group:
        """Collect the layers that lose channels with `module`.

        Raises:
            RuntimeError: the group grows beyond its bounds.
        """
        with _unmapped(), _replaced(graph_module, "Group", self.group):
            return super().get_pruning_group(module, pruning_fn, idxs)


class _BoundedGroup(Group):
    """A group of at most `most` steps from layer to layer, each with at most `widest` channels."""

    def __init__(self, most: int, widest: int) -> None:
        super().__init__()
        self._most, self._widest = most, widest

    def add_dep(self, dep: Any, idxs: Sequence[Any]) -> None:
        """Take one more step.

        Raises:
            RuntimeError: it is one too many, or has more channels than any layer.
        """
        if len(self) >= self._most or len(idxs) > self._widest:
            raise RuntimeError("torch-pruning does not come to an end with the channels of a group of layers")
        super().add_dep(dep, idxs)


@contextmanager
def _unmapped() -> Iterator[None]:
    """Let torch-pruning leave out the rule for a change of shape in which it counts no channels, as in a channel shuffle.

    What it then misjudges, the comparison of both networks finds.
    """
    own = index_mapping.update_reshape_index_mapping

    def update(graph: DependencyGraph, node: Any) -> None:
        try:
            own(graph, node)
        except ZeroDivisionError:
            return

    with _replaced(index_mapping, "update_reshape_index_mapping", update):
        yield


@contextmanager
def _replaced(place: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Put `value` in the place of a module's attribute."""
    own = getattr(place, name)
    try:
        setattr(place, name, value)
        yield
    finally:
        setattr(place, name, own)
