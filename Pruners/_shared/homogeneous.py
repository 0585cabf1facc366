"""The positive homogeneous network that SynFlow scores: its activations and its output without bounds.

SynFlow's flow is conserved where every activation satisfies f(x) = f'(x) x, as ReLU and the identity do (Tanaka et al. 2020,
arXiv 2006.05467, theorem 1), and its objective is the product of the absolute weights alone (equation 2). Bounded activations
satisfy neither: the image of ones saturates them, and then their gradients are exactly zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

GATES: dict[str, Callable[..., torch.Tensor]] = {"sigmoid": torch.sigmoid, "expit": torch.sigmoid, "hardsigmoid": F.hardsigmoid}
BOUNDED: dict[str, Callable[..., torch.Tensor]] = GATES | {
    "tanh": torch.tanh, "softsign": F.softsign, "erf": torch.erf, "atan": torch.atan, "arctan": torch.atan,
    "log_sigmoid": F.logsigmoid, "logsigmoid": F.logsigmoid, "softshrink": F.softshrink, "hardshrink": F.hardshrink,
    "tanhshrink": F.tanhshrink,
}  # fmt: skip
CLIPPED = {"relu6": (0.0, 6.0), "hardtanh": (-1.0, 1.0), "clamp": (None, None), "clip": (None, None)}  # default limits
SOFTMAX = frozenset({"softmax", "log_softmax"})
PRODUCTS = frozenset({"mul", "imul", "rmul", "multiply", "matmul", "bmm"})
SUMS = frozenset({"add", "iadd", "radd", "sub", "isub", "rsub", "div", "truediv", "itruediv"})
# Functions that move numbers only, so that they may be applied before an activation as well as after it.
VIEWS = frozenset({
    "view", "view_as", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "repeat", "permute",
    "transpose", "t", "movedim", "contiguous", "clone", "getitem", "select", "narrow", "to", "type_as", "float", "double",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout",
})  # fmt: skip


class _Result(NamedTuple):
    """A result of a bounded activation or of a softmax.

    Attributes:
        tensor: the result as the network goes on with it.
        argument: the argument, in the shape of the result.
        activation: the function whose value at `argument` the network without replacements has; None for a softmax.
        is_gate: the function has a sigmoid's shape.
    """

    tensor: torch.Tensor
    argument: torch.Tensor
    activation: Callable[[torch.Tensor], torch.Tensor] | None
    is_gate: bool


class Homogeneous(TorchFunctionMode):
    """A mode in which a network computes with positive homogeneous activations where its own are bounded.

    A bounded activation becomes the identity, a clipped one loses its upper limit, so that ReLU6 becomes ReLU. Where its result
    multiplies another activation, as in a squeeze-and-excitation block or in x * sigmoid(x), the identity would make a square of
    the flow. There the value is kept, and the derivative is the slope of the chord from zero, which never vanishes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[int, _Result] = {}

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """Return the argument of the softmax or log-softmax that made `output`, or `output` itself."""
        found = self._found.get(id(output))
        return found.argument if found and found.activation is None else output

    def ends_in_softmax(self, output: torch.Tensor) -> bool:
        """Tell whether a softmax or log-softmax made `output`."""
        return self.logits(output) is not output

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = plain_name(func)
        if name in BOUNDED and args:
            return self._keep(args[0].view_as(args[0]), args[0], BOUNDED[name], name in GATES)
        if name in CLIPPED and args:
            return self._clipped(func, name, args, kwargs)
        if name == "minimum" and len(args) == 2 and args[0].grad_fn is not None and not args[1].requires_grad:
            return self._keep(args[0].view_as(args[0]), args[0], partial(torch.minimum, other=args[1]))
        if name in SOFTMAX:
            return self._keep(func(*args, **kwargs), kwargs["input"] if "input" in kwargs else args[0], None)
        if name == "glu":
            value, gate = args[0].chunk(2, (*args[1:], kwargs.get("dim", -1))[0])
            return value * _chord(gate, torch.sigmoid)
        if self._found and args:
            return self._follow(func, name, args, kwargs)
        return func(*args, **kwargs)

    def _keep(
        self, tensor: torch.Tensor, argument: torch.Tensor, activation: Callable[..., torch.Tensor] | None, is_gate: bool = False
    ) -> torch.Tensor:
        self._found[id(tensor)] = _Result(tensor, argument, activation, is_gate)
        return tensor

    def _clipped(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        low, high = limits(name, args, kwargs)
        if high is None or isinstance(low, torch.Tensor):
            return func(*args, **kwargs)
        x = args[0]
        clip = partial(torch.minimum, other=high) if isinstance(high, torch.Tensor) else partial(torch.clamp, min=low, max=high)
        if low == 0:
            return self._keep(F.relu(x), x, clip)
        return self._keep(x.view_as(x) if low is None or low < 0 else x.clamp(min=low), x, clip)

    def _follow(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function whose arguments may be results found before."""
        found = [self._found.get(id(a)) if isinstance(a, torch.Tensor) else None for a in args[:2]]
        first = found[0]
        if first and name in VIEWS:
            moved = func(first.argument, *args[1:], **kwargs)
            return self._keep(func(*args, **kwargs), moved, first.activation, first.is_gate)
        if first and name == "log" and first.activation is None:
            return self._keep(func(*args, **kwargs), first.argument, None)
        if name in PRODUCTS and len(args) == 2 and all(isinstance(a, torch.Tensor) for a in args):
            return func(*self._with_gate(args, found), **kwargs)
        if first and first.activation and name in PRODUCTS | SUMS and isinstance(args[1], int | float):
            inner = first.activation
            outer = partial(_with_number, _BY_NAME[name], args[1])
            return self._keep(func(*args, **kwargs), first.argument, lambda x: outer(inner(x)), first.is_gate)
        return func(*args, **kwargs)

    @staticmethod
    def _with_gate(args: tuple[Any, ...], found: list[_Result | None]) -> list[torch.Tensor]:
        """Return the factors of a product; a bounded one that multiplies an activation has its own value, and a chord's slope."""
        factors = list(args)
        bounded = [i for i, result in enumerate(found) if result and result.activation]
        gate = next((i for i in bounded if found[i].is_gate), bounded[-1] if bounded else None)  # type: ignore[union-attr]
        if gate is not None and args[1 - gate].grad_fn is not None:  # a parameter has none
            result = found[gate]
            factors[gate] = _chord(result.argument, result.activation)  # type: ignore[union-attr, arg-type]
        return factors


def plain_name(func: Callable[..., Any]) -> str:
    """Return the name of a torch function or method, without the marks of a method, of a private or of an in-place function."""
    return getattr(func, "__name__", "").strip("_")


def limits(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Return the lower and the upper limit in a call of `clamp`, `hardtanh` or `relu6`; None is no limit."""
    if name == "relu6":
        return CLIPPED[name]
    words = ("min_val", "max_val") if name == "hardtanh" else ("min", "max")
    given = [args[i + 1] if len(args) > i + 1 else kwargs.get(words[i], CLIPPED[name][i]) for i in range(2)]
    return given[0], given[1]


def _chord(x: torch.Tensor, activation: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Return the value of `activation`, with the derivative (f(x) - f(0)) / x, and 0 at 0."""
    value = activation(x).detach()
    slope = ((value - activation(torch.zeros((), dtype=x.dtype, device=x.device))) / x.detach()).nan_to_num(0.0, 0.0, 0.0)
    return value + (x - x.detach()) * slope


def _with_number(function: Callable[..., torch.Tensor], number: float, x: torch.Tensor) -> torch.Tensor:
    return function(x, number)


def _reversed_sub(x: torch.Tensor, number: float) -> torch.Tensor:
    return number - x


_BY_NAME: dict[str, Callable[..., torch.Tensor]] = {
    **dict.fromkeys(("mul", "imul", "rmul", "multiply"), torch.mul), **dict.fromkeys(("add", "iadd", "radd"), torch.add),
    **dict.fromkeys(("sub", "isub"), torch.sub), "rsub": _reversed_sub,
    **dict.fromkeys(("div", "truediv", "itruediv"), torch.div),
}  # fmt: skip
