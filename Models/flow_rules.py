"""Rules by which operations pass companions on (see `Models/flow.py`).

A rule returns the companion of an operation's result, in a shape that broadcasts to it, or a list for several results; None where
the result depends on all arguments. In both directions a companion is made of zeros and ones again, so that no sum overflows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from Models.operations import AVERAGING, PLACING, POINTWISE, REDUCING, SPREADING
from Models.tape import Node, Source, Step

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
    """The same of a product of zeros and ones, whose sums are whole numbers up to `CONNECTED`."""

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


def open_to(x: torch.Tensor) -> torch.Tensor:
    """Return ones through which gradients still pass to `x`: a factor that may be other than zero everywhere."""
    return 1 + x - x.detach()


class Companions:
    """The rules' view of a pass: companions by node.

    Attributes:
        strict: whether a gate opens nothing where the tensor that it multiplies does not depend on the image.
        gated: whether this made a difference to any operation.
        ends, names: the units of layers, and the names of parameters (see `Models/flow.py`).
    """

    strict: bool
    gated: bool
    ends: list[tuple[str, torch.Tensor]]
    names: dict[Node, str]

    def of(self, node: Node) -> torch.Tensor | None:
        """Return the companion of a tensor; None for a constant."""
        raise NotImplementedError

    def signal(self, value: Any) -> torch.Tensor | None:
        """Return the companion of a tensor that depends on the image; None for any other value."""
        return self.of(value) if isinstance(value, Node) and value.root.source is Source.IMAGE else None

    def factor(self, value: Any) -> torch.Tensor | None:
        """Return the companion of a tensor made of parameters; None, which lets everything through, for any other value."""
        return self.of(value) if isinstance(value, Node) and value.root.source is Source.PARAMETER else None

    def by_kind(self, step: Step) -> Any:
        """Apply the rule of the kind that an operation belongs to; None if it is not known."""
        name = step.name
        if torch.Tag.inplace_view in step.func.tags:
            return getattr(torch.ops.aten, name)(self.of(step.args[0]), *step.args[1:], **step.kwargs)
        if name in REDUCING:
            return self._reduce(step)
        if name in PLACING:
            return self._place(step)
        if name in SPREADING:
            place = SPREADING[name]
            given = step.args[place] if len(step.args) > place else step.kwargs.get("dim", -1)
            return self._spread(step.args[0], given)
        if name in AVERAGING:
            return self._pool(step)
        if torch.Tag.pointwise in step.func.tags or name in POINTWISE:
            return self._any(step)
        return None

    def _any(self, step: Step) -> torch.Tensor | None:
        """Rule for pointwise functions: a number depends on all numbers at its place."""
        if step.name in ("fill", "zero") and not any(isinstance(a, Node) for a in step.args[1:]):
            return torch.zeros(step.args[0].shape, device=step.args[0].device)
        arguments = [a for a in (*step.args, *step.kwargs.values()) if isinstance(a, Node)]
        if step.name == "fill":
            arguments = arguments[1:]
        signals = [s for a in arguments if (s := self.signal(a)) is not None]
        made = [f for a in arguments if (f := self.factor(a)) is not None and (not signals or a.root not in self.names)]
        if step.name == "glu":
            signals, made = [_halves(s, step) for s in signals], [_halves(f, step) for f in made]
        if not signals:
            return reached(_sum(made))
        total = signals[0] if len(signals) == 1 else reached(_sum(signals))
        for part in made:
            total = total + (part - part.detach()) * total.detach()
        return total

    def _place(self, step: Step) -> Any:
        """Rule for operations that place numbers: the operation itself, on companions."""
        imaged = any(self.signal(node) is not None for node in _arguments(step))

        def swap(value: Any) -> Any:
            if isinstance(value, Node):
                constant = value.root.value if value.root.value is not None else value.value
                if value.value is not None and not value.value.is_floating_point():
                    return value.value
                found = self.signal(value) if imaged else self.factor(value)
                if found is None:
                    empty = torch.zeros if imaged or constant is None else torch.ones
                    found = empty(value.shape, device=value.device)
                return found
            return type(value)(swap(v) for v in value) if isinstance(value, list | tuple) else value

        if step.name in ("index", "_unsafe_index", "gather", "take", "index_select", "repeat_interleave", "index_put",
                         "_unsafe_index_put", "scatter_add", "index_add"):  # fmt: skip
            places = [n for a in step.args[1:3] for n in ([a] if isinstance(a, Node) else a if isinstance(a, list | tuple) else []) if isinstance(n, Node)]
            if step.name in ("index_put", "_unsafe_index_put"):
                places = [n for n in step.args[1] if n is not None]
            if any(self.signal(n) is not None for n in places):
                return None  # the image decides on the places themselves
        args, kwargs = swap(step.args), {n: swap(v) for n, v in step.kwargs.items()}
        if step.name == "constant_pad_nd":
            args, kwargs = args[:2], {}
        if step.name == "copy":
            return args[1]
        if step.name == "_to_copy" or step.name == "clone":
            return args[0]
        kwargs.pop("dtype", None)
        function = getattr(torch.ops.aten, step.name) if step.func._schema.is_mutable else step.func
        found = function(*args, **kwargs)
        return [reached(f) for f in found] if isinstance(found, list | tuple) else reached(found)

    def _reduce(self, step: Step) -> torch.Tensor | None:
        """Rule for reductions: a number depends on all numbers along the dimensions that are gone."""
        names = [argument.name for argument in step.func._schema.arguments]
        given = dict(zip(names, step.args, strict=False)) | step.kwargs
        if step.name in ("max", "min") and isinstance(given.get("other"), Node):
            return self._any(step)
        if step.name == "topk":
            return self._spread(step.args[0], given.get("dim", -1)).narrow(given.get("dim", -1), 0, 1)
        dims = given.get("dim")
        if step.name in ("kthvalue", "mode") and dims is None:
            dims = -1
        part = self.of(step.args[0])
        if part is None or ((dims is None or dims == []) and step.results[0].shape.numel() != 1):
            return None
        keep = bool(given.get("keepdim", False))
        dims = [*range(part.dim())] if dims is None or dims == [] else dims
        return reached(part.sum(dims, keepdim=keep)) if part.dim() else part

    def _spread(self, node: Node, dims: int | Sequence[int]) -> torch.Tensor:
        """Rule for functions of all numbers along some dimensions, which stay."""
        part = self.of(node)
        assert part is not None
        return reached(part.sum(dims, keepdim=True)).expand(part.shape)

    def _pool(self, step: Step) -> torch.Tensor | None:
        """Rule for pooling by maxima: any number of a window may be the largest."""
        args = list(step.args)
        average = getattr(torch.ops.aten, AVERAGING[step.name])
        part = self.signal(args[0])
        if part is None:
            return None
        if step.name.startswith("adaptive"):
            return reached(average(part, args[1]))
        size, stride, padding, dilation, ceil = [*args[1:], *[[], 0, 1, False][len(args) - 2 :]]
        if any(d != 1 for d in (dilation if isinstance(dilation, list | tuple) else [dilation])):
            return None
        return reached(average(part, size, stride or size, padding, ceil))


def _arguments(step: Step) -> Iterator[Node]:
    for value in (*step.args, *step.kwargs.values()):
        for inner in value if isinstance(value, list | tuple) else (value,):
            if isinstance(inner, Node):
                yield inner


def _sum(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _halves(part: torch.Tensor, step: Step) -> torch.Tensor:
    return _sum(part.chunk(2, step.args[1] if len(step.args) > 1 else -1))


def _times(self: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a product entry by entry: the image passes where the factor may be other than zero."""
    signals = [s for a in step.args[:2] if (s := self.signal(a)) is not None]
    factors = [f for a in step.args[:2] if (f := self.factor(a)) is not None]
    if len(signals) == 2:
        factors = _gated(self, *step.args[:2])
        return reached(_sum(signals)) if factors is None else factors[0] * factors[1]
    if signals:
        return signals[0] * factors[0] if factors else signals[0]
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]


def _gated(self: Companions, a: Node, b: Node) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the factors of a product of which one is a gate: ones for the gate itself; None if none is, or both are."""
    one, two = self.signal(a), self.signal(b)
    if one is None or two is None or a.root.gate == b.root.gate:
        return None
    self.gated = True
    if not self.strict:
        return None
    return (open_to(one), two) if a.root.gate else (one, open_to(two))


def _divided(self: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a quotient: parameters below the line let everything through."""
    above, below = self.factor(step.args[0]), self.factor(step.args[1])
    if above is None or self.signal(step.args[1]) is not None:
        return self._any(step)
    return above if below is None else above * open_to(below)


def _matrices(self: Companions, step: Step, a: Node, b: Node) -> torch.Tensor | None:
    """Rule for a product of matrices, or of batches of them."""
    one, two = self.signal(a), self.signal(b)
    if one is not None and two is not None:
        if (pair := _gated(self, a, b)) is not None:
            return _product(*pair)
        return reached(one.sum(-1, keepdim=True) + two.sum(-2, keepdim=True)).expand(step.results[0].shape)
    first = one if one is not None else self.factor(a)
    second = two if two is not None else self.factor(b)
    if first is None:
        return reached(second.sum(-2, keepdim=True)).expand(step.results[0].shape)
    if second is None:
        return reached(first.sum(-1, keepdim=True)).expand(step.results[0].shape)
    end = None
    if one is not None and b.root in self.names and b.shape == (b.root.shape[::-1]):
        end = first.new_zeros(b.shape[-1], requires_grad=torch.is_grad_enabled())
        self.ends.append((self.names[b.root], end))
    return _product(first, second, end)


def _product(a: torch.Tensor, b: torch.Tensor, end: torch.Tensor | None = None) -> torch.Tensor:
    total = _Factor.apply(a) @ _Factor.apply(b)
    return _Product.apply(total if end is None else total + end)


def _matrix(self: Companions, step: Step) -> torch.Tensor | None:
    return _matrices(self, step, step.args[0], step.args[1])


def _added_matrix(self: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a product of matrices that is added to something."""
    found = _matrices(self, step, step.args[1], step.args[2])
    added = self.signal(step.args[0])
    if added is not None:
        return reached(found + added)
    made = self.factor(step.args[0])
    if made is None or step.args[0].root in self.names:
        return found
    return found + (made - made.detach()) * found.detach()


def _vector(self: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a matrix times a vector."""
    if self.signal(step.args[0]) is None or self.signal(step.args[1]) is not None:
        return None
    vector = self.factor(step.args[1])
    rows = self.signal(step.args[0])
    return reached(rows.sum(-1)) if vector is None else _product(rows, vector[:, None])[:, 0]


def _convolution(self: Companions, step: Step) -> torch.Tensor | None:
    """Rule for convolutions; a kernel connects two channels at all its taps if it may be other than zero at any of them."""
    x, weight, _, stride, padding, dilation, transposed, output_padding, groups = step.args
    reach, connected = self.signal(x), self.factor(weight)
    if reach is None or self.signal(weight) is not None:
        return None
    if connected is None:
        connected = torch.ones((), device=x.device).expand(weight.shape)
    taps = range(2, len(weight.shape))
    if any(connected.stride(d) for d in taps):  # not the same at all taps
        connected = reached(connected.sum([*taps], keepdim=True)).expand(weight.shape)
    units = step.results[0].shape[1]
    end = reach.new_zeros(units, requires_grad=torch.is_grad_enabled())
    if weight.root in self.names and weight.shape.numel() == weight.root.shape.numel():
        self.ends.append((self.names[weight.root], end))
    end = end.view(-1, *[1] * len(taps))
    if transposed:
        shape = (stride, padding, dilation, True, output_padding, groups)
        return _Product.apply(torch.ops.aten.convolution(_Factor.apply(reach), _Factor.apply(connected.contiguous()), None, *shape) + end)
    matrix = connected[(..., *[0] * len(taps))]
    windows = _windows(reach, weight.shape[2:], stride, padding, dilation)
    if windows is None:
        return None
    places = windows.shape[2:]
    flat = windows.reshape(len(windows), groups, -1, prod(places))
    total = _Factor.apply(matrix.reshape(groups, units // groups, -1)) @ _Factor.apply(flat)
    return _Product.apply(total.reshape(len(windows), units, *places) + end)


def _windows(reach: torch.Tensor, size: Sequence[int], stride: Any, padding: Any, dilation: Any) -> torch.Tensor | None:
    """Tell for each channel and place of a convolution's output whether anything in its window is reached."""
    if all(n == 1 for n in size) and not any(padding):
        if all(n == 1 for n in stride):
            return reach
        steps = [*stride] * (reach.dim() - 2) if len(stride) == 1 else stride
        return reach[(..., *[slice(None, None, n) for n in steps])]
    pool: Callable[..., torch.Tensor] | None = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}.get(reach.dim())
    if all(n == 1 for n in dilation) and all(2 * p <= n for p, n in zip(padding, size, strict=False)) and pool is not None:
        return reached(pool(reach, tuple(size), tuple(stride), tuple(padding)))
    channels = reach.shape[1]
    kernel = torch.ones(channels, 1, *size, device=reach.device)
    found = torch.ops.aten.convolution(_Factor.apply(reach), kernel, None, stride, padding, dilation, False, [0] * len(size), channels)
    return _Product.apply(found)


def _batch_norm(self: Companions, step: Step) -> torch.Tensor:
    """Rule for batch norm: each number by itself, or with the statistics of this image each channel."""
    reach = self.of(step.args[0])
    assert reach is not None
    if any(flag is True for flag in step.args[3:]):
        reach = reached(reach.sum([d for d in range(reach.dim()) if d != 1], keepdim=True)).expand(reach.shape)
    scale = self.factor(step.args[1])
    return reach if scale is None else reach * scale.view(-1, *[1] * (reach.dim() - 2))


def _layer_norm(self: Companions, step: Step) -> torch.Tensor:
    """Rule for layer norm and RMS norm: each number depends on all that are normalised with it."""
    reach = self._spread(step.args[0], [*range(-len(step.args[1]), 0)])
    scale = self.factor(step.args[2]) if len(step.args) > 2 else self.factor(step.kwargs.get("weight"))
    return reach if scale is None else reach * scale


def _group_norm(self: Companions, step: Step) -> torch.Tensor:
    """Rule for group norm."""
    x, weight, _, count, _, _, groups = step.args[:7]
    reach, scale = self.of(x), self.factor(weight)
    assert reach is not None
    grouped = reach.reshape(count, groups, -1)
    found = reached(grouped.sum(2, keepdim=True)).expand(grouped.shape).reshape(x.shape)
    return found if scale is None else found * scale.view(-1, *[1] * (len(x.shape) - 2))


def _attention(self: Companions, step: Step) -> list[torch.Tensor | None] | None:
    """Rule for attention: a result is an average of the values of its channel, over weights that queries and keys decide."""
    query, key, value = (self.of(a) for a in step.args[:3])
    if self.signal(step.args[2]) is None or query is None or key is None or query.dim() != 4 or query.shape[1] != value.shape[1]:
        return None
    weights = reached(query.sum(-1, keepdim=True) + key.sum((-1, -2), keepdim=True))
    values = reached(value.sum(-2, keepdim=True))
    self.gated = True
    return [values * open_to(weights) if self.strict else reached(values + weights)]


Rule = Callable[[Companions, Step], Any]
RULES: dict[str, Rule] = {
    "mul": _times, "div": _divided, "mm": _matrix, "bmm": _matrix, "addmm": _added_matrix, "baddbmm": _added_matrix, "mv": _vector,
    "convolution": _convolution, "native_layer_norm": _layer_norm, "_fused_rms_norm": _layer_norm,
    "native_group_norm": _group_norm, **dict.fromkeys((
        "native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update",
        "_native_batch_norm_legit_no_training", "_batch_norm_no_update"), _batch_norm),
    **dict.fromkeys((
        "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention", "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_efficient_attention", "_scaled_dot_product_fused_attention_overrideable"), _attention),
}  # fmt: skip
