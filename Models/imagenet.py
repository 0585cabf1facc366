"""The networks of ImageNet as torchvision builds them, untrained (VGG, ResNet, Wide ResNet; He et al. 2016).

The same seed gives the same weights as Synaptic-Flow's copies of them, which had 1000 outputs whatever was asked.
"""

from __future__ import annotations

from functools import partial

import torchvision
from torch import nn

from Models.layers import InputShape
from Models.torchvision_models import replace_first_conv


def network(builder: str, input_shape: InputShape, num_classes: int, dense_classifier: bool = False) -> nn.Module:
    """Build torchvision's `builder` with `num_classes` outputs: [B, *input_shape] -> [B, num_classes].

    The first convolution is drawn anew, by the rule of these networks, unless there are three input channels.
    `dense_classifier` changes nothing here.
    """
    model = getattr(torchvision.models, builder)(weights=None, num_classes=num_classes)
    if input_shape[0] != 3:
        first = replace_first_conv(model, input_shape[0])
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        if first.bias is not None:
            nn.init.zeros_(first.bias)
    return model


vgg11, vgg13, vgg16, vgg19 = (partial(network, f"vgg{depth}") for depth in (11, 13, 16, 19))
vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn = (partial(network, f"vgg{depth}_bn") for depth in (11, 13, 16, 19))
resnet18, resnet34, resnet50, resnet101, resnet152 = (partial(network, f"resnet{depth}") for depth in (18, 34, 50, 101, 152))
wide_resnet50, wide_resnet101 = (partial(network, f"wide_resnet{depth}_2") for depth in (50, 101))
