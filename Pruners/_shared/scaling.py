"""Numbers beyond the range of float64: a forward pass in which every tensor has a power of two beside it.

A network of 1202 layers of absolute weights has outputs above 1e308. Here a layer's output is divided by the power of two next to
its largest number, and the exponent is remembered. Factors of two are exact in floating point, so that outputs and gradients are
those of the plain pass to the last bit, times one factor for the whole network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from Pruners._shared.homogeneous import VIEWS, limits, plain_name

BIAS = {  # function -> places and names of the arguments that are added to the first one, or taken from it
    **dict.fromkeys(
        ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), ((2, "bias"),)
    ),
    "batch_norm": ((1, "running_mean"), (4, "bias")),
}
# Functions with f(s x) = s f(x) for every s > 0, and questions about a tensor.
HOMOGENEOUS = VIEWS | frozenset({
    "relu", "leaky_relu", "prelu", "abs", "neg", "detach", "swapaxes", "tile", "flip", "roll", "index_select", "gather", "chunk",
    "split", "split_with_sizes", "tensor_split", "unbind", "unfold", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
    "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d",
    "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "mean", "sum", "amax", "amin", "cumsum", "interpolate", "tril", "triu", "nan_to_num", "get", "size", "dim", "len", "numel",
})  # fmt: skip
SUMS = frozenset({"add", "iadd", "radd", "sub", "isub", "maximum", "minimum"})
PRODUCTS = {"mul": 1, "imul": 1, "rmul": 1, "multiply": 1, "matmul": 1, "bmm": 1, "div": -1, "truediv": -1, "itruediv": -1}
# Functions that are the identity for large numbers, and functions of a sign and a direction alone for large numbers.
LINEAR_FAR_OUT = frozenset({"gelu", "silu", "mish", "hardswish", "softplus", "elu", "selu", "celu"})
CONSTANT_FAR_OUT = frozenset({
    "sigmoid", "hardsigmoid", "tanh", "erf", "atan", "softsign", "clamp", "layer_norm", "group_norm", "instance_norm", "rms_norm",
    "normalize", "softmax",
})  # fmt: skip
FAR = 64


class Scaled(TorchFunctionMode):
    """A mode in which tensors are kept near 1, each with the exponent of a power of two. Reads nothing from the device.

    A function without a rule is given the true numbers, and overflows where those do.
    """

    def __init__(self) -> None:
        super().__init__()
        self._exponents: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = plain_name(func)
        trains = name == "batch_norm" and (kwargs.get("training") or (len(args) > 5 and args[5]))
        if name in BIAS and args and not trains:
            return self._layer(func, name, args, kwargs)
        if not any(id(leaf) in self._exponents for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)):
            return func(*args, **kwargs)
        if name in ("cat", "stack", "concat"):
            return self._joined(func, args, kwargs)
        if name in SUMS and len(args) > 1:
            return self._sum(func, args, kwargs)
        if name in PRODUCTS and len(args) > 1:
            first, second = self._of(args[0]), self._of(args[1])
            exponent = first + second if PRODUCTS[name] > 0 else first - second
            return self._near_one(func(*args, **kwargs), exponent, in_place=_in_place(func))
        if name in HOMOGENEOUS or _is_relu(name, args, kwargs):
            exponent = self._of(args[0])
            return tree_map(lambda out: self._note(out, exponent), func(*args, **kwargs))
        if name in LINEAR_FAR_OUT or name in CONSTANT_FAR_OUT:
            exponent = self._of(args[0])
            reached = exponent.clamp(max=FAR)
            out = func(_times_power(args[0], reached), *args[1:], **kwargs)
            return self._near_one(out, exponent - reached) if name in LINEAR_FAR_OUT else out
        return func(*tree_map(self._true, args), **tree_map(self._true, kwargs))

    def _of(self, tensor: Any) -> torch.Tensor:
        """Return the exponent of a tensor or number, an int64 scalar on the device; 0 if none was noted."""
        found = self._exponents.get(id(tensor))
        if found:
            return found[1]
        device = tensor.device if isinstance(tensor, torch.Tensor) else next(iter(self._exponents.values()))[1].device
        return torch.zeros((), dtype=torch.int64, device=device)

    def _note(self, tensor: Any, exponent: torch.Tensor) -> Any:
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
            self._exponents[id(tensor)] = (tensor, exponent)  # the tensor stays, so that its id is not given again
        return tensor

    def _true(self, value: Any) -> Any:
        """Return the numbers that `value` stands for."""
        if not isinstance(value, torch.Tensor) or id(value) not in self._exponents:
            return value
        return _times_power(value, self._of(value))

    def _near_one(self, tensor: torch.Tensor, exponent: torch.Tensor, in_place: bool = False) -> torch.Tensor:
        """Divide a tensor by the power of two above its largest number, and note its exponent."""
        more = torch.frexp(tensor.detach().abs().amax()).exponent.long()
        factor = _power(-more)
        return self._note(tensor.mul_(factor) if in_place else tensor * factor, exponent + more)

    def _layer(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        """Call a layer, with its bias divided as its input is."""
        arguments, named, exponent = list(args), dict(kwargs), self._of(args[0]) if self._exponents else None
        for place, word in BIAS[name] if exponent is not None else ():
            holder: Any = arguments if len(args) > place else named
            key: Any = place if len(args) > place else word
            if isinstance(found := holder[key] if holder is arguments else named.get(word), torch.Tensor):
                holder[key] = _times_power(found, -exponent)
        out = func(*arguments, **named)
        return self._near_one(out, torch.zeros((), dtype=torch.int64, device=out.device) if exponent is None else exponent)

    def _sum(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        """Add, or compare, two tensors in the larger one's scale."""
        exponents, in_place = [self._of(a) for a in args[:2]], _in_place(func)
        common = torch.maximum(*exponents)
        lift = exponents[0] - common
        first = args[0].mul_(_power(lift)) if in_place else _times_power(args[0], lift)
        second = _times_power(args[1], exponents[1] - common)
        return self._near_one(func(first, second, *args[2:], **kwargs), common, in_place)

    def _joined(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
        """Join tensors in the scale of the largest one."""
        tensors: Sequence[torch.Tensor] = args[0] if args else kwargs["tensors"]
        exponents = [self._of(t) for t in tensors]
        common = torch.stack(exponents).amax()
        scaled = [_times_power(t, e - common) for t, e in zip(tensors, exponents, strict=True)]
        return self._note(func(scaled, *args[1:], **{k: v for k, v in kwargs.items() if k != "tensors"}), common)


def _power(exponent: torch.Tensor) -> torch.Tensor:
    """Return 2 to the power of an int64 scalar, exactly, as float64; beyond the normal numbers the nearest of those."""
    return ((exponent.clamp(-1022, 1023) + 1023) << 52).view(torch.float64)


def _times_power(value: Any, exponent: torch.Tensor) -> Any:
    """Multiply a tensor or number by a power of two, in two steps, so that the result alone may overflow."""
    half = torch.div(exponent, 2, rounding_mode="floor")
    return value * _power(half) * _power(exponent - half)


def _in_place(func: Callable[..., Any]) -> bool:
    name = getattr(func, "__name__", "")
    return (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")


def _is_relu(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a call of `clamp` has the one limit 0, and a call of `pad` fills with zeros or with numbers of the tensor."""
    if name == "pad":
        value = args[3] if len(args) > 3 else kwargs.get("value")
        return not value
    return name in ("clamp", "clip") and limits(name, args, kwargs) in ((0, None), (None, 0))
