"""VGG for Tiny-ImageNet with three linear layers (Simonyan and Zisserman 2014, configurations A, B, D and E)."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from Models.layers import InputShape, init_fan_out
from Models.lottery_vgg import CONVOLUTIONS, WIDTHS


class VGG(nn.Module):
    """A VGG for 64x64 images: [B, *input_shape] -> [B, num_classes].

    The map is halved after each of the five stages, so 512 * (H // 32) * (W // 32) numbers enter the classifier.

    Raises:
        ValueError: the images are smaller than 32x32.
    """

    def __init__(self, depth: int, batch_norm: bool, input_shape: InputShape, num_classes: int) -> None:
        super().__init__()
        channels, height, width = input_shape
        size = WIDTHS[-1] * (height // 32) * (width // 32)
        if size == 0:
            raise ValueError("it needs images of at least 32x32")
        modules: list[nn.Module] = []
        for outputs, count in zip(WIDTHS, CONVOLUTIONS[depth], strict=True):
            for _ in range(count):
                modules.append(nn.Conv2d(channels, outputs, kernel_size=3, padding=1))
                if batch_norm:
                    modules.append(nn.BatchNorm2d(outputs))
                modules.append(nn.ReLU(inplace=batch_norm))
                channels = outputs
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        self.classifier = nn.Sequential(
            nn.Linear(size, size // 2),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(size // 2, size // 2),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(size // 2, num_classes),
        )
        init_fan_out(self, linear=partial(nn.init.normal_, std=0.01))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores per class, [B, num_classes]."""
        return self.classifier(self.features(x).flatten(1))


def vgg(
    depth: int, input_shape: InputShape, num_classes: int, dense_classifier: bool = False, *, batch_norm: bool = False
) -> VGG:
    """Build a VGG of `depth` 11, 13, 16 or 19; `dense_classifier` changes nothing here.

    Raises:
        ValueError: the images are smaller than 32x32.
    """
    return VGG(depth, batch_norm, input_shape, num_classes)


vgg11, vgg13, vgg16, vgg19 = (partial(vgg, depth) for depth in CONVOLUTIONS)
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (partial(vgg, depth, batch_norm=True) for depth in CONVOLUTIONS)
