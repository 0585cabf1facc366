"""Products: the parameters that multiply numbers of the image, found in one forward pass, whoever calls the multiplication.

Each tensor that does not depend on the image has a source: the largest parameter that went into it. A product of such a tensor
with one that depends on the image is a use of that parameter, be it in a layer, in a function of the model, or
after a parametrization such as weight_norm. Products of parameters with each other are no uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from Models.layers import LAYERS, RECURRENT, without_cudnn
from Models.nested import tensors_in

aten = torch.ops.aten
CONVOLUTION = (aten.convolution, aten._convolution)
# Operation -> the place of its first factor among the arguments; the second one follows.
FACTORS: Mapping[Any, int] = {
    aten.convolution: 0, aten._convolution: 0, aten._trilinear: 0, aten.mm: 0, aten.bmm: 0, aten.mv: 0, aten.dot: 0,
    aten.linear: 0, aten.addmm: 1, aten.baddbmm: 1, aten.addbmm: 1, aten.addmv: 1,
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """The origin of a tensor that does not depend on the image.

    Attributes:
        name: the largest parameter that went into it; empty if only buffers and constants did.
        size: the number of entries of that parameter.
    """

    name: str
    size: int


BUFFER, CONSTANT = Source("", 1), Source("", 0)


class Products(TorchDispatchMode):
    """A mode that adds up the multiply-adds of each parameter while `watch` lets a network run in it.

    Attributes:
        macs: full parameter name -> multiply-adds by what is computed from it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.macs: dict[str, int] = {}
        self._model = model
        self._names = dict(model.named_parameters()).keys()
        recurrent = [m for m in model.modules() if isinstance(m, RECURRENT)]
        inside = {id(t) for module in recurrent for t in module.parameters()}
        self._recurrent = {name for name, t in model.named_parameters() if id(t) in inside}
        self._sources: dict[int, tuple[Source, torch.Tensor]] = {}  # by id, with the tensor, so that no other gets its id

    @contextmanager
    def watch(self, tensors: Mapping[str, torch.Tensor], image: torch.Tensor) -> Iterator[None]:
        """Begin counting anew, in a pass for `image` with `tensors` in place of the parameters and buffers of these names."""
        self.macs.clear()
        self._sources.clear()
        for name, tensor in tensors.items():
            self._note(tensor, Source(name, tensor.numel()) if name in self._names else BUFFER)
        with ExitStack() as stack:
            for module in self._model.modules():
                if isinstance(module, LAYERS | RECURRENT | nn.MultiheadAttention):
                    stack.callback(module.register_forward_pre_hook(self._arrives).remove)
            stack.enter_context(_unfused())
            stack.enter_context(self)
            yield

    def _arrives(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Count what arrives at a layer as part of the image, even a parameter or buffer, such as a learned query."""
        for tensor in tensors_in(inputs):
            self._sources.pop(id(tensor), None)

    def _source(self, tensor: torch.Tensor) -> Source | None:
        """Return the source of a tensor; None if it depends on the image."""
        noted = self._sources.get(id(tensor))
        return noted[0] if noted else None

    def _note(self, tensor: torch.Tensor, source: Source) -> None:
        self._sources[id(tensor)] = (source, tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if (first := FACTORS.get(func.overloadpacket)) is not None:
            self._multiply(func.overloadpacket, args, first, output)
        source: Source | None = CONSTANT
        for tensor in tensors_in(args):
            found = self._source(tensor)
            if found is None:
                source = None
                break
            source = found if found.size > source.size else source
        for tensor in tensors_in(output):
            if source is None:
                self._sources.pop(id(tensor), None)
            else:
                self._note(tensor, source)
        if source is not None:
            self.derive(func, args, kwargs, output)
        return output

    def _multiply(self, operation: Any, args: tuple[Any, ...], first: int, output: torch.Tensor) -> None:
        """Count a product if one factor is computed from parameters and the other depends on the image.

        The first state of a recurrent layer is a constant, which counts as if it depended on the image.
        """
        for factor, other in ((args[first + 1], args[first]), (args[first], args[first + 1])):
            source = self._source(factor)
            if source is None or not source.name:
                continue
            beside = self._source(other)
            if beside is None or (beside is CONSTANT and source.name in self._recurrent):
                macs = _multiply_adds(operation, args, first, output)
                self.macs[source.name] = self.macs.get(source.name, 0) + macs
                self.reach(factor)

    def derive(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """Take note of a tensor that is computed from parameters alone; here nothing."""

    def reach(self, factor: torch.Tensor) -> None:
        """Take note of a factor, computed from parameters, that reaches a product with the image; here nothing."""


def _multiply_adds(operation: Any, args: tuple[Any, ...], first: int, output: torch.Tensor) -> int:
    """Count the multiply-adds of an operation in `FACTORS`; a transposed convolution's weight works once per input position."""
    a, b = args[first], args[first + 1]
    if operation in CONVOLUTION:
        positions = a if args[6] else output
        return b.numel() * a.shape[0] * math.prod(positions.shape[2:])
    if operation is aten._trilinear:
        return b.numel() * a.shape[0]
    if operation is aten.linear:
        return a.numel() * b.shape[0]
    return a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


@contextmanager
def _unfused() -> Iterator[None]:
    """Let attention and recurrent layers call their products one by one, not as one fused operation that would hide them."""
    attention, mkldnn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch._C._set_mkldnn_enabled(False)
        with without_cudnn():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(attention)
        torch._C._set_mkldnn_enabled(mkldnn)
