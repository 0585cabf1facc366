"""ResNets in four stages without the first pooling, for 64x64 images (He et al. 2016).

The wide forms (Zagoruyko and Komodakis 2016) have twice the channels inside each block, not between blocks.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from Models.layers import Identity2d, InputShape, init_fan_out, last_linear


def _conv_bn(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class _Block(nn.Module):
    """The base of both blocks: ReLU(residual + shortcut), [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""

    def __init__(self, residual: list[nn.Module], inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual_function = nn.Sequential(*residual)
        if stride == 1 and inputs == outputs:
            self.shortcut: nn.Module = Identity2d(inputs)
        else:
            self.shortcut = nn.Sequential(*_conv_bn(inputs, outputs, 1, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return torch.relu_(self.residual_function(x) + self.shortcut(x))


class BasicBlock(_Block):
    """Two 3x3 convolutions; `widen` multiplies the channels between them: [B, inputs, H, W] -> [B, channels, H', W']."""

    expansion = 1

    def __init__(self, inputs: int, channels: int, stride: int, widen: int) -> None:
        inner = channels * widen
        residual = [*_conv_bn(inputs, inner, 3, stride), nn.ReLU(inplace=True), *_conv_bn(inner, channels, 3)]
        super().__init__(residual, inputs, channels, stride)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolutions; `widen` multiplies the inner channels: [B, inputs, H, W] -> [B, 4 channels, H', W']."""

    expansion = 4

    def __init__(self, inputs: int, channels: int, stride: int, widen: int) -> None:
        inner, outputs = channels * widen, channels * self.expansion
        residual = [*_conv_bn(inputs, inner, 1), nn.ReLU(inplace=True), *_conv_bn(inner, inner, 3, stride), nn.ReLU(inplace=True)]
        super().__init__([*residual, *_conv_bn(inner, outputs, 1)], inputs, outputs, stride)


class ResNet(nn.Module):
    """A ResNet: [B, channels, H, W] -> [B, num_classes], any H and W. `counts` are the blocks of the four stages."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        counts: tuple[int, int, int, int],
        widen: int,
        channels: int,
        num_classes: int,
        dense_classifier: bool,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv_bn(channels, 64, 3), nn.ReLU(inplace=True))
        inputs = 64
        stages = []
        for width, count in zip((64, 128, 256, 512), counts, strict=True):
            blocks = []
            for index in range(count):
                blocks.append(block(inputs, width, 2 if index == 0 and width > 64 else 1, widen))
                inputs = width * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.conv2_x, self.conv3_x, self.conv4_x, self.conv5_x = stages
        self.avg_pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = last_linear(inputs, num_classes, dense_classifier)
        init_fan_out(self)  # the linear layer keeps PyTorch's own draw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores per class, [B, num_classes]."""
        x = self.conv5_x(self.conv4_x(self.conv3_x(self.conv2_x(self.conv1(x)))))
        return self.fc(self.avg_pool(x).flatten(1))


PLANS = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def resnet(depth: int, input_shape: InputShape, num_classes: int, dense_classifier: bool = False, *, widen: int = 1) -> ResNet:
    """Build a ResNet of `depth` 18, 34, 50, 101 or 152 for images of `input_shape` = (channels, height, width)."""
    block, counts = PLANS[depth]
    return ResNet(block, counts, widen, input_shape[0], num_classes, dense_classifier)


resnet18, resnet34, resnet50, resnet101, resnet152 = (partial(resnet, depth) for depth in PLANS)
wide_resnet18, wide_resnet34, wide_resnet50, wide_resnet101, wide_resnet152 = (partial(resnet, depth, widen=2) for depth in PLANS)
