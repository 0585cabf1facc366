"""Layers: the kinds that have weights, the prunable identity, pooling over the whole map, the initialisations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

InputShape = tuple[int, int, int]
CONVOLUTIONS = nn.modules.conv._ConvNd
LAYERS = nn.Linear | CONVOLUTIONS | nn.Bilinear  # one weight each, called `weight`
RECURRENT = nn.RNNBase | nn.RNNCellBase


def weights_of(module: nn.Module) -> list[str]:
    """Name the parameters of a layer that multiply what arrives there, in their order; none for other modules.

    They are the weights of linear, bilinear and convolutional layers, transposed ones included, of recurrent layers and cells,
    and of the input projections of attention. A weight that a parametrization computes is no parameter, and not among them.
    """
    own = [name for name, tensor in module._parameters.items() if tensor is not None]
    if isinstance(module, LAYERS):
        return [name for name in own if name == "weight"]
    if isinstance(module, RECURRENT):
        return [name for name in own if re.fullmatch(r"weight_(ih|hh|hr)(_l\d+)?(_reverse)?", name)]
    if isinstance(module, nn.MultiheadAttention):
        return [name for name in own if name.endswith("proj_weight")]
    return []


def biases_of(module: nn.Module) -> dict[str, str]:
    """Map each bias of a layer with weights to the weight whose products it is added to."""
    if isinstance(module, LAYERS):
        return {} if module._parameters.get("bias") is None else {"bias": "weight"}
    pairs = {name: name.replace("weight", "bias", 1) for name in weights_of(module)}
    pairs |= {name: "in_proj_bias" for name in pairs if name == "q_proj_weight"}  # one bias for three projections
    return {bias: weight for weight, bias in pairs.items() if module._parameters.get(bias) is not None}


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Let recurrent layers compute without cuDNN, whose kernels have no gradient in evaluation mode and no second derivatives."""
    enabled = torch.backends.cudnn.enabled
    try:
        torch.backends.cudnn.enabled = False
        yield
    finally:
        torch.backends.cudnn.enabled = enabled


class Identity2d(nn.Module):
    """An identity shortcut as a multiplier per channel, so that it is counted and can be pruned.

    `weight` is [C, 1, 1], all ones, and never trained. The layer may miss a change of it through `.data`, which torch does not
    count as a new version. [B, C, H, W] -> [B, C, H, W].
    """

    _read: tuple[torch.Tensor, int, bool] | None = None  # the weight that was looked at, its version, whether it was all ones

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.weight = nn.Parameter(torch.ones(num_features, 1, 1), requires_grad=False)

    def reset_parameters(self) -> None:
        """Set every multiplier to one."""
        nn.init.ones_(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Multiply each channel by its weight, in the precision of `x`; where all are one, return `x` itself."""
        return x if self._is_one() else x * self.weight.to(x.dtype)

    def _is_one(self) -> bool:
        """Tell whether the weights are the module's own, fixed, unmasked, and all one; reads them after each change only."""
        if torch.compiler.is_compiling():  # which stops at a question to a tensor
            return False
        weight = self.weight
        own = isinstance(weight, nn.Parameter) and not weight.requires_grad and not hasattr(self, "weight_mask")
        if not own or weight.is_meta or weight.is_inference():
            return False
        if self._read is None or self._read[0] is not weight or self._read[1] != weight._version:
            self._read = (weight, weight._version, bool((weight == 1).all()))
        return self._read[2]

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_read"}  # a copy's versions begin anew

    def extra_repr(self) -> str:
        """Return the number of channels, for `print(model)`."""
        return str(self.num_features)


def average_whole_map(x: torch.Tensor) -> torch.Tensor:
    """Average each channel over the whole map: [B, C, H, W] -> [B, C], for any H and W.

    `adaptive_avg_pool2d` would differ in the last bit from the pooling with which published masks were made.
    """
    return F.avg_pool2d(x, x.shape[-2:]).flatten(1)


def last_linear(in_features: int, num_classes: int, dense_classifier: bool) -> nn.Linear:
    """Make the classifier [B, in_features] -> [B, num_classes]; twice with `dense_classifier`, as Synaptic-Flow does.

    The first one only draws from the generator, so that the same seed gives the same weights as there.
    """
    if dense_classifier:
        nn.Linear(in_features, num_classes)
    return nn.Linear(in_features, num_classes)


def init_lottery(model: nn.Module) -> None:
    """Draw weights of Conv2d and Linear by He's normal rule over the fan-in, and set biases to zero (He et al. 2015)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_fan_out(model: nn.Module, linear: Callable[[torch.Tensor], object] | None = None) -> None:
    """Draw convolutions by He's normal rule over the fan-out, Linear weights by `linear` if given; set biases to zero.

    This is torchvision's rule, in the order of `model.modules()`.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear) and linear is not None:
            linear(module.weight)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
