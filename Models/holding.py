"""Masks that hold: whether a masked weight is still zero in the product that uses it.

A layer may change its weight in each forward pass. Weight standardisation subtracts the mean, so that a masked zero is no zero in
the convolution, and the network is not as sparse as its masks say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from Models.layers import weights_of
from Models.masking import Prunable
from Models.nested import tensors_in
from Models.products import Products
from Models.shapes import dry_run, eval_mode, same_attributes
from Utils.base.errors import out_of_memory

# Operations that put numbers elsewhere, beside views: the mask goes the same way.
PLACING = frozenset({
    "_unsafe_view", "_reshape_copy", "clone", "_to_copy", "contiguous", "cat", "stack", "index", "index_select", "gather",
    "repeat", "roll", "flip", "tril", "triu", "constant_pad_nd",
})  # fmt: skip


def broken_masks(model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]) -> list[str]:
    """Name the prunable weights of which a masked place is not zero in a product that uses it; the network does not change.

    If a weight passes through anything else than views and copies on its way to a product, which a dry run tells, the network
    computes one image with a random half of each weight masked, on the device of its weights. The mask is followed through
    functions entry by entry. A product by something else, such as a sum over the kernel, is not compared. A network that fails on
    the image is not checked: it will fail with that error later.
    """
    weights = [p for p in prunables if p.param in weights_of(p.module)]
    changing = _Changing(model, {p.name for p in weights})
    try:
        dry_run(model, input_shape, watch=changing.watch)
        return _compare(model, weights, input_shape) if changing.found else []
    except Exception as error:
        if out_of_memory(error):
            raise
        return []


def _compare(model: nn.Module, weights: Sequence[Prunable], input_shape: tuple[int, ...]) -> list[str]:
    draws = torch.Generator().manual_seed(0)
    values, masks = {}, {}
    for p in weights:
        weight = p.weight.detach()
        masks[p.name] = (torch.rand(weight.shape, generator=draws) < 0.5).to(weight)
        noise = torch.randn(weight.shape, generator=draws).to(weight)
        values[p.name] = torch.where(weight == 0, 0.01 * noise, weight) * masks[p.name]
    rest = {name: t.detach().clone() for name, t in (*model.named_parameters(), *model.named_buffers()) if name not in values}
    image = torch.randn(1, *input_shape, generator=draws).to(weights[0].weight)
    comparing = _Comparing(model, {name: (tensor, masks[name]) for name, tensor in values.items()})
    unchanged = (eval_mode(model), same_attributes(model), torch.random.fork_rng(devices=[]), torch.no_grad())
    with ExitStack() as stack:
        for context in (*unchanged, comparing.watch(rest | values, image)):
            stack.enter_context(context)
        torch.func.functional_call(model, rest | values, (image,))
    return [name for name in values if name in comparing.broken]


def _places(func: Any) -> bool:
    """Tell whether an operation only puts numbers elsewhere: a view, a copy, or one of `PLACING`."""
    first = func._schema.returns[0].alias_info if func._schema.returns else None
    return (first is not None and not first.is_write) or func.overloadpacket.__name__ in PLACING


class _Changing(Products):
    """Finds out whether a product uses a weight that an operation has changed.

    Attributes:
        found: whether there is such a product.
    """

    def __init__(self, model: nn.Module, weights: Collection[str]) -> None:
        super().__init__(model)
        self.found = False
        self._weights = weights
        self._changed: dict[int, bool] = {}  # by id of a tensor that is computed from a weight

    @contextmanager
    def watch(self, tensors: Mapping[str, torch.Tensor], image: torch.Tensor) -> Iterator[None]:
        """Begin anew; see `Products.watch`."""
        self.found, self._changed = False, {id(tensor): False for name, tensor in tensors.items() if name in self._weights}
        with super().watch(tensors, image):
            yield

    def derive(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """Note whether the results come from a changed weight."""
        found = [self._changed[id(tensor)] for tensor in tensors_in(args) if id(tensor) in self._changed]
        if found:
            changed = any(found) or not _places(func)
            self._changed |= {id(tensor): changed for tensor in tensors_in(output)}

    def reach(self, factor: torch.Tensor) -> None:
        """Note a changed weight that reaches a product."""
        self.found = self.found or self._changed.get(id(factor), False)


class _Comparing(Products):
    """Compares each factor of a product with the mask of the weight from which it is computed.

    Args:
        model: the network.
        weights: full parameter name -> what stands in for it, and its mask.

    Attributes:
        broken: the weights of which a masked place was not zero.
    """

    def __init__(self, model: nn.Module, weights: Mapping[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
        super().__init__(model)
        self.broken: set[str] = set()
        self._masks = WeakTensorKeyDictionary()  # tensor -> the weight's name, the mask in the tensor's shape
        for name, (tensor, mask) in weights.items():
            self._masks[tensor] = (name, mask)

    def derive(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """Note the mask of a tensor that is computed from a masked one, if each of its entries comes from one entry there."""
        found = [noted for t in tensors_in(args) if (noted := self._masks.get(t)) is not None]
        if not found:
            return
        if _places(func):
            swapped, named = tree_map_only(torch.Tensor, self._mask_or_ones, (args, dict(kwargs)))
            for result, mask in zip(tree_leaves(output), tree_leaves(func(*swapped, **named)), strict=True):
                self._masks[result] = (found[0][0], mask)
        elif len(found) == 1:
            first_result = next(tensors_in(output))
            if first_result.shape == found[0][1].shape:
                self._masks[first_result] = found[0]

    def _mask_or_ones(self, tensor: torch.Tensor) -> torch.Tensor:
        if (noted := self._masks.get(tensor)) is not None:
            return noted[1]
        return torch.ones_like(tensor) if tensor.is_floating_point() else tensor

    def reach(self, factor: torch.Tensor) -> None:
        """Compare a factor with its mask."""
        name, mask = self._masks.get(factor, ("", None))
        if mask is not None and name not in self.broken and bool(((mask == 0) & (factor != 0)).any()):
            self.broken.add(name)
