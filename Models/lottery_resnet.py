"""ResNets for CIFAR in three stages (He et al. 2016, section 4.2; the form of OpenLTH, Frankle et al. 2020).

A ResNet-N has N = 6 n + 2 layers: one convolution, three stages of n blocks of two, one linear layer. The stages have
16, 32 and 64 channels; the wide ones 32, 64 and 128. Shortcuts that change shape are 1x1 convolutions.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from Models.layers import Identity2d, InputShape, average_whole_map, init_lottery, last_linear


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        if stride == 1 and inputs == outputs:
            self.shortcut: nn.Module = Identity2d(inputs)
        else:
            projection = nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        inner = torch.relu_(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """A ResNet for small images: [B, channels, H, W] -> [B, num_classes], any H and W.

    Raises:
        ValueError: the depth is not 6 n + 2.
    """

    def __init__(self, depth: int, width: int, channels: int, num_classes: int, dense_classifier: bool) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"a ResNet of this family has 6 n + 2 layers (8, 14, 20, ...), not {depth}")
        self.conv = nn.Conv2d(channels, width, kernel_size=3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        blocks: list[nn.Module] = []
        inputs = width
        for stage, outputs in enumerate((width, 2 * width, 4 * width)):
            for index in range(depth // 6):
                blocks.append(Block(inputs, outputs, stride=2 if stage > 0 and index == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = last_linear(inputs, num_classes, dense_classifier)
        init_lottery(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores per class, [B, num_classes]."""
        return self.fc(average_whole_map(self.blocks(torch.relu_(self.bn(self.conv(x))))))


def resnet(depth: int, input_shape: InputShape, num_classes: int, dense_classifier: bool = False, *, width: int = 16) -> ResNet:
    """Build a ResNet of `depth` layers for images of `input_shape` = (channels, height, width).

    Raises:
        ValueError: the depth is not 6 n + 2.
    """
    return ResNet(depth, width, input_shape[0], num_classes, dense_classifier)


DEPTHS = (20, 32, 44, 56, 110, 1202)
resnet20, resnet32, resnet44, resnet56, resnet110, resnet1202 = (partial(resnet, depth) for depth in DEPTHS)
wide_resnet20, wide_resnet32, wide_resnet44, wide_resnet56, wide_resnet110, wide_resnet1202 = (
    partial(resnet, depth, width=32) for depth in DEPTHS
)
