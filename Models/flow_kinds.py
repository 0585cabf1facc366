"""Rules of flow for kinds of operations: pointwise functions, placing, reducing, pooling (see `Models/flow.py`).

A rule returns the companion of an operation's result, in a shape that broadcasts to it, or a list for several results; None where
the result depends on all arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from Models.companions import Companions, reached, total_of
from Models.operations import AVERAGING, INDEXED, JOINING, PLACING, POINTWISE, REDUCING, SPREADING
from Models.tape import Node, Step, nodes_in


def by_kind(companions: Companions, step: Step) -> Any:
    """Apply the rule of the kind that an operation belongs to; None if it is not known."""
    name = step.name
    if torch.Tag.inplace_view in step.func.tags:
        return getattr(torch.ops.aten, name)(companions.of(step.args[0]), *step.args[1:], **step.kwargs)
    if name in REDUCING:
        return _reduce(companions, step)
    if name in PLACING:
        return _place(companions, step)
    if name in SPREADING:
        place = SPREADING[name]
        given = step.args[place] if len(step.args) > place else step.kwargs.get("dim", -1)
        return along(companions, step.args[0], given)
    if name in AVERAGING:
        return _pool(companions, step)
    if torch.Tag.pointwise in step.func.tags or name in POINTWISE:
        return any_at_place(companions, step)
    return None


def any_at_place(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for pointwise functions: a number depends on all numbers at its place."""
    arguments = [a for a in (*step.args, *step.kwargs.values()) if isinstance(a, Node)]
    if step.name in ("fill", "zero"):
        arguments = arguments[1:]
        if not any(companions.of(a) is not None for a in arguments):
            return torch.zeros(step.args[0].shape, device=step.args[0].device)
    signals = [s for a in arguments if (s := companions.signal(a)) is not None]
    made = [f for a in arguments if (f := companions.factor(a)) is not None and (not signals or a.root not in companions.names)]
    if step.name == "glu":
        signals, made = [_halves(s, step) for s in signals], [_halves(f, step) for f in made]
    if not signals:
        return reached(total_of(made))
    total = signals[0] if len(signals) == 1 else reached(total_of(signals))
    for part in made:
        total = total + (part - part.detach()) * total.detach()
    return total


def _place(companions: Companions, step: Step) -> Any:
    """Rule for operations that place numbers: the operation itself, on companions."""
    imaged = any(companions.signal(node) is not None for node in nodes_in((step.args, step.kwargs)))

    def swap(value: Any) -> Any:
        if isinstance(value, Node):
            if value.value is not None and not value.value.is_floating_point():
                return value.value
            found = companions.signal(value) if imaged else companions.factor(value)
            if found is None and imaged and step.name in JOINING:
                return companions.beside(value)
            return (torch.zeros if imaged else torch.ones)(value.shape, device=value.device) if found is None else found
        return type(value)(swap(v) for v in value) if isinstance(value, list | tuple) else value

    if step.name in INDEXED and any(companions.signal(node) is not None for node in nodes_in(step.args[INDEXED[step.name]])):
        return None  # the image decides on the places themselves
    args, kwargs = swap(step.args), {n: swap(v) for n, v in step.kwargs.items()}
    if step.name == "constant_pad_nd":
        args, kwargs = args[:2], {}
    if step.name == "copy":
        return args[1]
    if step.name in ("_to_copy", "clone"):
        return args[0]
    if step.name in ("_unsafe_view", "_reshape_copy"):
        return args[0].reshape(args[1])
    kwargs.pop("dtype", None)
    function = getattr(torch.ops.aten, step.name) if step.func._schema.is_mutable else step.func
    found = function(*args, **kwargs)
    return [reached(f) for f in found] if isinstance(found, list | tuple) else reached(found)


def _reduce(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for reductions: a number depends on all numbers along the dimensions that are gone."""
    names = [argument.name for argument in step.func._schema.arguments]
    given = dict(zip(names, step.args, strict=False)) | step.kwargs
    if step.name in ("max", "min") and isinstance(given.get("other"), Node):
        return any_at_place(companions, step)
    if step.name == "topk":
        return along(companions, step.args[0], given.get("dim", -1)).narrow(given.get("dim", -1), 0, 1)
    dims = given.get("dim")
    if step.name in ("kthvalue", "mode") and dims is None:
        dims = -1
    part = companions.of(step.args[0])
    if part is None or ((dims is None or dims == []) and step.results[0].shape.numel() != 1):
        return None
    keep = bool(given.get("keepdim", False))
    dims = [*range(part.dim())] if dims is None or dims == [] else dims
    return reached(part.sum(dims, keepdim=keep)) if part.dim() else part


def along(companions: Companions, node: Node, dims: int | Sequence[int]) -> torch.Tensor:
    """Rule for functions of all numbers along some dimensions, which stay."""
    part = companions.of(node)
    assert part is not None
    return reached(part.sum(dims, keepdim=True)).expand(part.shape)


def _pool(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for pooling by maxima: any number of a window may be the largest."""
    args = list(step.args)
    average = getattr(torch.ops.aten, AVERAGING[step.name])
    part = companions.signal(args[0])
    if part is None:
        return None
    if step.name.startswith("adaptive"):
        return reached(average(part, args[1]))
    size, stride, padding, dilation, ceil = [*args[1:], *[[], 0, 1, False][len(args) - 2 :]]
    if any(d != 1 for d in (dilation if isinstance(dilation, list | tuple) else [dilation])):
        return None
    return reached(average(part, size, stride or size, padding, ceil))


def _halves(part: torch.Tensor, step: Step) -> torch.Tensor:
    return total_of(part.chunk(2, step.args[1] if len(step.args) > 1 else -1))
