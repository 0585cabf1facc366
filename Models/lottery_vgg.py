"""VGG for CIFAR with one linear layer (Simonyan and Zisserman 2014; the form of OpenLTH, Frankle et al. 2020)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from Models.layers import InputShape, average_whole_map, init_lottery, last_linear

WIDTHS = (64, 128, 256, 512, 512)  # one per stage; the map is halved between stages, not after the last
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class ConvUnit(nn.Module):
    """3x3 convolution with bias, batch normalisation if asked for, ReLU: [B, inputs, H, W] -> [B, outputs, H, W]."""

    def __init__(self, inputs: int, outputs: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        self.bn = nn.BatchNorm2d(outputs) if batch_norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the unit."""
        x = self.conv(x)
        return torch.relu(x) if self.bn is None else torch.relu_(self.bn(x))


class VGG(nn.Module):
    """A VGG for small images: [B, channels, H, W] -> [B, num_classes], H and W at least 16; the last map is averaged."""

    def __init__(self, depth: int, batch_norm: bool, channels: int, num_classes: int, dense_classifier: bool) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        for stage, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS[depth], strict=True)):
            if stage > 0:
                modules.append(nn.MaxPool2d(2))
            for _ in range(count):
                modules.append(ConvUnit(channels, width, batch_norm))
                channels = width
        self.layers = nn.Sequential(*modules)
        self.fc = last_linear(channels, num_classes, dense_classifier)
        init_lottery(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores per class, [B, num_classes]."""
        return self.fc(average_whole_map(self.layers(x)))


def vgg(
    depth: int, input_shape: InputShape, num_classes: int, dense_classifier: bool = False, *, batch_norm: bool = False
) -> VGG:
    """Build a VGG of `depth` 11, 13, 16 or 19 for images of `input_shape` = (channels, height, width)."""
    return VGG(depth, batch_norm, input_shape[0], num_classes, dense_classifier)


vgg11, vgg13, vgg16, vgg19 = (partial(vgg, depth) for depth in CONVOLUTIONS)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (partial(vgg, depth, batch_norm=True) for depth in CONVOLUTIONS)
