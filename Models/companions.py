"""Companions of tensors, made of zeros and ones, and the functions between them (see `Models/flow.py`).

In both directions a result is made of zeros and ones again, so that no sum overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from Models.tape import Node

CONNECTED = 0.5  # sums of zeros and ones, less what a kernel that transforms them (Winograd's) may round off


class _Reached(torch.autograd.Function):
    """One where a sum is above zero, zero where it is not; on the way back the same of gradients."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return (gradient != 0).to(gradient.dtype)


class _Product(torch.autograd.Function):
    """Product of matrices of zeros and ones: one where a path leads through; `end`, all zeros, is added to each unit.

    Sums are whole numbers, and `CONNECTED` tells them from zero.
    """

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, end: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        ctx.units = None if end is None else end.shape
        return (a @ b > CONNECTED).to(a.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        a, b = ctx.saved_tensors
        asked = (gradient != 0).to(gradient.dtype)
        found: list[torch.Tensor | None] = [None, None, None]
        if ctx.needs_input_grad[0]:
            found[0] = ((asked @ b.mT).sum_to_size(a.shape) > CONNECTED).to(a.dtype)
        if ctx.needs_input_grad[1]:
            found[1] = ((a.mT @ asked).sum_to_size(b.shape) > CONNECTED).to(b.dtype)
        if ctx.units is not None:
            found[2] = asked.sum_to_size(ctx.units)
        return tuple(found)


class _Threshold(torch.autograd.Function):
    """One where a sum of products of zeros and ones is above `CONNECTED`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return (x > CONNECTED).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return (gradient != 0).to(gradient.dtype)


class _Factor(torch.autograd.Function):
    """The argument of a product of zeros and ones, on the way back of which the gradients are such sums."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return (gradient > CONNECTED).to(gradient.dtype)


class _Everything(torch.autograd.Function):
    """One number that is one if any entry of `signals` is; `weights` connect, whatever they are."""

    @staticmethod
    def forward(ctx: Any, signals: int, *parts: torch.Tensor) -> torch.Tensor:
        ctx.shapes = [part.shape for part in parts]
        result = torch.stack([(part > 0).any() for part in parts[:signals]]).any().to(torch.float32)
        ctx.signals = signals
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        asked = (gradient != 0).to(gradient.dtype)
        open_ = asked * ctx.saved_tensors[0]  # weights act on what arrives
        return None, *[(asked if place < ctx.signals else open_).expand(shape) for place, shape in enumerate(ctx.shapes)]


def everything(signals: Sequence[torch.Tensor], node: Node, weights: Sequence[torch.Tensor] = ()) -> torch.Tensor:
    """Return the companion of `node` if each number depends on all entries of `signals` and `weights`."""
    return _Everything.apply(len(signals), *signals, *weights).expand(node.shape)


def reached(x: torch.Tensor) -> torch.Tensor:
    """Return one where `x` is above zero."""
    return _Reached.apply(x)


def product(a: torch.Tensor, b: torch.Tensor, end: torch.Tensor | None = None) -> torch.Tensor:
    """Multiply matrices of zeros and ones: one where a path leads through. `end`, all zeros, is added to each unit."""
    return _Product.apply(a, b, end)


def factor(x: torch.Tensor) -> torch.Tensor:
    """Return `x`, zeros and ones, as a factor of a convolution: gradients on the way back are zeros and ones again."""
    return _Factor.apply(x)


def threshold(x: torch.Tensor) -> torch.Tensor:
    """Return one where `x`, sums of products of zeros and ones, is not zero."""
    return _Threshold.apply(x)


def open_to(x: torch.Tensor) -> torch.Tensor:
    """Return ones through which gradients still pass to `x`: a factor that may be other than zero everywhere."""
    return 1 + x - x.detach()


def total_of(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Add up tensors that broadcast to each other."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class Companions:
    """The rules' view of a pass: companions by node.

    Attributes:
        strict: whether a gate opens nothing where the tensor that it multiplies does not depend on the image.
        gated: whether this made a difference to any operation.
        constants: whether the numbers of a constant that is joined to the image's, such as a class token or coordinates, are
            reached as those are.
        joined: whether there is such a constant.
        ends, names: the units of layers, and the names of parameters (see `Models/flow.py`).
    """

    strict: bool
    gated: bool
    constants: bool
    joined: bool
    ends: list[tuple[str, torch.Tensor]]
    names: dict[Node, str]

    def of(self, node: Node) -> torch.Tensor | None:
        """Return the companion of a tensor; None for a constant."""
        raise NotImplementedError

    def is_signal(self, node: Node) -> bool:
        """Tell whether a tensor depends on the image by now; later writes in place may add to it."""
        raise NotImplementedError

    def signal(self, value: Any) -> torch.Tensor | None:
        """Return the companion of a tensor that depends on the image; None for any other value."""
        return self.of(value) if isinstance(value, Node) and self.is_signal(value) else None

    def factor(self, value: Any) -> torch.Tensor | None:
        """Return the companion of a tensor made of parameters; None, which lets everything through, for any other value."""
        return self.of(value) if isinstance(value, Node) and not self.is_signal(value) else None

    def beside(self, value: Node) -> torch.Tensor:
        """Return the companion of a constant that is joined to numbers that depend on the image."""
        self.joined = True
        if not self.constants:
            return torch.zeros(value.shape, device=value.device)
        if (made := self.factor(value)) is not None:
            return made
        values = value.value
        return torch.ones(value.shape, device=value.device) if values is None else (values != 0).to(torch.float32)
