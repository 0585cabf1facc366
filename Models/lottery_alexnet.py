"""AlexNet cut down for CIFAR: five 3x3 convolutions and one linear layer (after Krizhevsky et al. 2012)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from Models.layers import InputShape, init_lottery


class AlexNet(nn.Module):
    """AlexNet for small images: [B, channels, H, W] -> [B, num_classes], H and W at least 15.

    The last map is 2x2 for images of 32x32, and is averaged to that for other sizes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 64, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 192, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(256 * 2 * 2, num_classes))
        init_lottery(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return scores per class, [B, num_classes]."""
        x = self.features(x)
        if x.shape[-2:] != (2, 2):  # the gradient of adaptive pooling is not deterministic on CUDA: only where it is needed
            x = F.adaptive_avg_pool2d(x, (2, 2))
        return self.classifier(x.flatten(1))


def alexnet(input_shape: InputShape, num_classes: int, dense_classifier: bool = False) -> AlexNet:
    """Build the network for images of `input_shape` = (channels, height, width); `dense_classifier` changes nothing here."""
    return AlexNet(input_shape[0], num_classes)
