"""The order in which the parameters of a network work on one image, and those that its output does not depend on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from Models.nested import tensors_in
from Models.shapes import eval_mode, on_stand_ins

Uses = tuple[int, int]  # the places of the first and of the last function that takes a parameter, counted from 1
DETACHING = (torch.Tensor.detach, torch.detach, torch.Tensor.data.__get__)  # type: ignore[attr-defined]


def parameter_uses(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, Uses]:
    """Trace one image in eval mode; return the `Uses` of each parameter that the output depends on, by full name.

    The functions that take a parameter count, not the modules that own it, so that a weight in a function call has its place
    too. A parameter whose result is dropped, as that of an auxiliary head, has no use. A parameter that works without gradients
    counts as used, because its way to the output is not recorded. The model, its buffers and the random numbers do not change.

    Returns:
        An empty dictionary if the order is not known: the network cannot be traced, or hides its functions, as a script does.
    """
    watch = _Watch({id(tensor): name for name, tensor in model.named_parameters()})
    try:
        with eval_mode(model), torch.enable_grad(), torch.random.fork_rng(devices=[]), watch:
            output = on_stand_ins(model, (1, *input_shape), watch.fresh)
    except Exception:  # the user's code may raise anything; the caller then goes by the order of declaration
        return {}
    reached = watch.without_gradient | {watch.names[id(leaf)] for leaf in _leaves(output) if id(leaf) in watch.names}
    return {name: uses for name, uses in watch.uses.items() if name in reached}


class _Watch(TorchFunctionMode):
    """A mode that notes the functions that take a parameter; `fresh` makes the parameters' stand-ins.

    Attributes:
        names: the identity of each stand-in -> the parameter's name.
        uses: the name of each parameter that a function has taken -> its `Uses`.
        without_gradient: the parameters that a function took while gradients were switched off.
    """

    def __init__(self, owners: dict[int, str]) -> None:
        super().__init__()
        self._owners = owners
        self.begin()

    def begin(self) -> None:
        """Forget what was noted: the pass begins anew."""
        self._clock, self._kept = 0, []  # the stand-ins are kept, so that no other tensor gets the identity of one
        self.names: dict[int, str] = {}
        self.uses: dict[str, Uses] = {}
        self.without_gradient: set[str] = set()

    def fresh(self, tensor: torch.Tensor, stand_in: torch.Tensor) -> torch.Tensor:
        """Return `stand_in`, which takes the place of `tensor`, as a leaf of the graph if `tensor` is a parameter."""
        if self._kept and self._kept[0].device != stand_in.device:  # the pass on `meta` failed
            self.begin()
        name = self._owners.get(id(tensor))
        if name is not None:
            stand_in = stand_in.requires_grad_(stand_in.is_floating_point() or stand_in.is_complex())
            self.names[id(stand_in)] = name
            self._kept.append(stand_in)
        return stand_in

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # A value that is cut off from its gradient still reaches the output.
        result = args[0].clone() if func in DETACHING else func(*args, **kwargs or {})
        graded = torch.is_grad_enabled()
        if any(tensor.requires_grad or not graded for tensor in tensors_in(result)):  # a size or a type is no use
            self._clock += 1
            for name in {self.names[id(t)] for t in tensors_in((args, kwargs or {})) if id(t) in self.names}:
                self.uses[name] = (self.uses.get(name, (self._clock, 0))[0], self._clock)
                if not graded:
                    self.without_gradient.add(name)
        return result


def _leaves(output: object) -> Iterator[torch.Tensor]:
    """Yield the leaves of the graph of gradients that lead to the tensors of `output`."""
    left = [tensor.grad_fn for tensor in tensors_in(output)]
    yield from (tensor for tensor in tensors_in(output) if tensor.grad_fn is None)
    seen = set()
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            yield leaf
        left += [before for before, _ in node.next_functions]
