"""The network of `tests/golden/folders`."""

from torch import nn


def network(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Two convolutions and a classifier: 4 (C 9 + 1) + 4 (4 9 + 1) + (4 + 1) classes parameters, batch normalization aside."""
    channels = shape[0]
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, classes),
    )
