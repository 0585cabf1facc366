"""Effective masks: a mask without the weights that lie on no path from the input to the output.

A unit (a channel, or an output of a linear layer) is live when a path of kept weights leads to it from the input and another
from it to the output. All other units are dead, and no weight that touches a dead unit changes the output. The share of weights
that touch live units alone is the effective density (Vysogorets and Kempe 2021, "Connectivity matters: neural network pruning
through the lens of effective sparsity", arXiv 2107.02306).

The network itself runs once forward and once backward on an image of ones, with layers that only pass on whether a unit is
reached (one or zero). A kernel connects two channels if any of its taps is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from Models.layers import Identity2d
from Models.masking import Prunable
from Models.shapes import eval_mode

CONNECTING = nn.Linear | nn.modules.conv._ConvNd
NORMS = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.modules.instancenorm._InstanceNorm
PRODUCTS = (
    F.linear, torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d,
)  # fmt: skip
CONNECTED = 0.5
# Functions that pass every unit on by itself, and give zero (or little) where nothing arrives.
PASSING = (
    F.relu, torch.relu, torch.relu_, torch.Tensor.relu, torch.Tensor.relu_, F.relu6, F.hardtanh, F.hardswish, F.silu, F.gelu,
    F.leaky_relu, F.elu, F.selu, F.celu, F.mish, F.softplus, F.prelu, F.softsign, F.tanh, torch.tanh, torch.Tensor.tanh,
    F.local_response_norm, torch.neg, torch.Tensor.neg, torch.Tensor.__neg__,
)  # fmt: skip
# Functions that are not zero where nothing arrives: they pass on the tensor that they multiply.
GATES = (
    F.sigmoid, torch.sigmoid, torch.Tensor.sigmoid, F.hardsigmoid, F.softmax, torch.softmax, torch.Tensor.softmax,
)  # fmt: skip
# Differences: two paths may cancel out, but both lead here, so that they are added.
MINUS = (
    torch.sub, torch.subtract, torch.Tensor.sub, torch.Tensor.sub_, torch.Tensor.__sub__, torch.Tensor.__isub__,
)  # fmt: skip
# Norm -> the place of its weight among the arguments, and whether units are the second dimension (else the last ones).
NORMING = {F.batch_norm: (3, True), F.instance_norm: (3, True), F.group_norm: (2, True), F.layer_norm: (2, False)}
TIMES = (torch.mul, torch.Tensor.mul, torch.Tensor.mul_, torch.Tensor.__mul__, torch.Tensor.__rmul__, torch.Tensor.__imul__)


def _layer_means(x: torch.Tensor, normalized_shape: Sequence[int], *_rest: Any, **_named: Any) -> torch.Tensor:
    """Return the mean over the units of a layer norm, which each of them reaches."""
    return x.mean([*range(-len(normalized_shape), 0)], keepdim=True)


def _group_means(x: torch.Tensor, num_groups: int, *_rest: Any, **_named: Any) -> torch.Tensor:
    """Return, in the place of each unit, the mean over the units of its group."""
    grouped = x.unflatten(1, (num_groups, -1))
    return grouped.mean(2, keepdim=True).expand_as(grouped).flatten(1, 2)


# Norms in which a unit moves the mean and the variance, and so the outputs of the other units.
MIXING = {F.layer_norm: _layer_means, F.group_norm: _group_means}


@dataclass(frozen=True)
class Paths:
    """The entries of a network's parameters that lie on a path from its input to its output, by full parameter name.

    Attributes:
        live: for every parameter the entries on a path: bool, the parameter's shape. A bias, and a scale or shift of a norm, is
            live when its unit is.
        heard: for the weight of every layer that was used the units from which a path leads to the output: bool [units].
    """

    live: Mapping[str, torch.Tensor]
    heard: Mapping[str, torch.Tensor]


def find_paths(model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]) -> Paths:
    """Follow the paths of kept weights through `model` for images of `input_shape`; the network does not change.

    BatchNorm passes each unit on by itself; in layer and group norms a path leads from every unit to all that are normalised
    with it. Squeeze-and-excitation and other gates pass on the tensor that they multiply. All parameters outside layers, norms
    and `Identity2d` are live.

    Raises:
        RuntimeError: the network uses an operation that cannot be followed.
    """
    masks = {p.name: p.mask for p in prunables}
    owners = {name: model.get_submodule(name.rpartition(".")[0]) for name, _ in model.named_parameters()}
    tensors = {name: _stand_in(owners[name], name, t, masks.get(name)) for name, t in model.named_parameters()}
    zeros = {name for name, owner in owners.items() if not isinstance(owner, CONNECTING | NORMS | Identity2d)}
    image = torch.ones(1, *input_shape, device=next(iter(tensors.values())).device)
    following = _Following(tensors, zeros)
    with eval_mode(model), torch.enable_grad(), torch.random.fork_rng(devices=[]), following:
        output = torch.func.functional_call(model, tensors, (image,))
        loudness = (output[0] if isinstance(output, tuple) else output).sum()
    asked = [*tensors.values(), *(end for _, end in following.ends)]
    found = torch.autograd.grad(loudness, asked, allow_unused=True, materialize_grads=True)
    gradients = dict(zip(tensors, found, strict=False))
    heard: dict[str, torch.Tensor] = {}
    for (name, _), gradient in zip(following.ends, found[len(tensors) :], strict=True):
        heard[name] = (gradient != 0) | heard.get(name, torch.zeros_like(gradient, dtype=torch.bool))
    live: dict[str, torch.Tensor] = {}
    for name in sorted(tensors, key=lambda n: n.endswith("bias")):  # a bias asks for its weight
        live[name] = _live(owners[name], name, gradients[name], masks.get(name), live)
    return Paths({name: live[name] for name in tensors}, heard)


def _stand_in(owner: nn.Module, name: str, tensor: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Make the stand-in of a parameter: ones and zeros for its connections, zeros for a parameter that is added."""
    like = torch.zeros(tensor.shape, device=tensor.device)
    if name.endswith("weight") and isinstance(owner, CONNECTING):
        like = torch.ones_like(like) if mask is None else _any_tap(mask != 0).expand_as(mask).to(like)
    elif name.endswith("weight") and isinstance(owner, NORMS | Identity2d):
        like = torch.ones_like(like) if mask is None else mask.to(like)
    return like.clone(memory_format=torch.contiguous_format).requires_grad_()


def _live(
    owner: nn.Module, name: str, gradient: torch.Tensor, mask: torch.Tensor | None, live: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Return the live entries of a parameter, from the gradient of its stand-in and the live entries of weights."""
    weight = f"{name.removesuffix('bias')}weight"
    if name.endswith("bias") and isinstance(owner, CONNECTING | NORMS) and weight in live:
        found = live[weight].flatten(1).any(1) if live[weight].dim() > 1 else live[weight]
        if getattr(owner, "transposed", False):
            found = torch.ones_like(gradient, dtype=torch.bool)
    elif isinstance(owner, CONNECTING):
        found = _any_tap(gradient != 0).expand_as(gradient)
    elif isinstance(owner, NORMS | Identity2d):
        found = gradient != 0
    else:
        found = torch.ones_like(gradient, dtype=torch.bool)
    return found.clone() if mask is None else found & (mask != 0)


def _any_tap(connected: torch.Tensor) -> torch.Tensor:
    """Tell whether any tap of a kernel is set: [units, inputs, ...] -> [units, inputs, 1, ...]."""
    for dimension in range(2, connected.dim()):
        connected = connected.any(dimension, keepdim=True)
    return connected


class _Connect(torch.autograd.Function):
    """Before a product: one where something arrives.

    The gradients on the way back are whole numbers, up to the rounding errors of kernels that transform their numbers
    (Winograd's); `CONNECTED` tells them from zero.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return (x != 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return (gradient > CONNECTED).to(gradient.dtype)


class _Reached(torch.autograd.Function):
    """After a product of zeros and ones: one where something arrived, zero where nothing did; in both directions."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return (x > CONNECTED).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return (gradient != 0).to(gradient.dtype)


class _Following(TorchFunctionMode):
    """A mode in which functions pass on which units are reached, instead of computing their values.

    `ends` holds, for each use of a layer's weight, its name and a zero that was added to each of its units. `zeros` names the
    parameters outside layers and norms, which count as one where they scale a tensor.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], zeros: Collection[str]) -> None:
        super().__init__()
        self.ends: list[tuple[str, torch.Tensor]] = []
        self._names = {id(tensor): name for name, tensor in tensors.items()}
        self._zeros = zeros

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in PASSING:
            return args[0]
        if func in GATES:
            return args[0] - args[0].detach() + 1
        if func in NORMING:
            return self._norm(func, args, kwargs)
        if func in PRODUCTS:
            return self._product(func, *args, **kwargs)
        if func in MINUS:
            return args[0] + args[1]
        if func in TIMES:  # a parameter that scales: its stand-in is zero
            args = tuple(a + 1 if self._scales(a) else a for a in args)
        if func is F.multi_head_attention_forward:
            return self._heads(*args, **kwargs), None
        return func(*args, **kwargs)

    def _norm(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> torch.Tensor:
        place, second = NORMING[func]
        x, weight = args[0], kwargs.get("weight", args[place] if len(args) > place else None)
        if func in MIXING:
            x = x + MIXING[func](*args, **kwargs)
        if weight is None:
            return x
        return x * (weight.view(-1, *[1] * (x.dim() - 2)) if second else weight)

    def _product(self, func: Callable[..., Any], x: torch.Tensor, weight: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        product = func(_Connect.apply(x), _Connect.apply(weight), *rest, **named)
        units = -1 if func is F.linear else 1
        end = product.new_zeros(product.shape[units], requires_grad=True)
        if id(weight) in self._names:
            self.ends.append((self._names[id(weight)], end))
        return _Reached.apply(product + (end if units == -1 else end.view(-1, *[1] * (product.dim() - 2))))

    def _scales(self, value: Any) -> bool:
        """Tell whether `value` is a parameter whose stand-in is zero."""
        return self._names.get(id(value)) in self._zeros

    def _heads(self, query: Any, key: Any, value: Any, *rest: Any, **kwargs: Any) -> torch.Tensor:
        """Follow attention: a value at any place reaches the output at every place, whatever the queries and keys."""
        weight, out = rest[2], rest[8]
        if weight is None:
            raise RuntimeError("attention with separate projections cannot be followed")
        inner = self._product(F.linear, value, weight.chunk(3)[2] + 1)
        return self._product(F.linear, inner.mean(0, keepdim=True) + torch.zeros_like(query), out)
