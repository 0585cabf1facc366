"""The two smallest networks, for MNIST and for quick looks: `fc` and `conv` (Tanaka et al. 2020, Synaptic-Flow)."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import nn

from Models.layers import InputShape


def fc(
    input_shape: InputShape, num_classes: int, dense_classifier: bool = False, *, depth: int = 6, width: int = 100
) -> nn.Sequential:
    """`depth` linear layers of `width` units with ReLU between them: [B, *input_shape] -> [B, num_classes].

    `dense_classifier` changes nothing here: the last layer is left out when the masks are made.
    """
    sizes = [math.prod(input_shape), *[width] * (depth - 1)]
    modules: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*modules, nn.Linear(width, num_classes))


def conv(
    input_shape: InputShape, num_classes: int, dense_classifier: bool = False, *, depth: int = 3, width: int = 32
) -> nn.Sequential:
    """`depth - 1` 3x3 convolutions of `width` channels, ReLU after each, and a linear layer on the whole map.

    [B, *input_shape] -> [B, num_classes]; `dense_classifier` changes nothing here.
    """
    channels, height, columns = input_shape
    modules: list[nn.Module] = []
    for inputs in [channels, *[width] * (depth - 2)]:
        modules += [nn.Conv2d(inputs, width, kernel_size=3, padding=1), nn.ReLU()]
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(width * height * columns, num_classes))
