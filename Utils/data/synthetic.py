"""Synthetic sets: `synthetic:CxHxW:CLASSES[:N]`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from Utils.base import seeds
from Utils.data.catalogue import parse_synthetic
from Utils.data.reading import Contents, Place


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Make the set of that name."""
    facts = parse_synthetic(name)
    return make_synthetic(name, facts.shape, facts.classes, facts.train_size)


def make_synthetic(spec: str, shape: tuple[int, int, int], classes: int, count: int) -> Contents:
    """Make a learnable set that its name determines: a smooth random prototype per class, in grey levels, plus noise.

    It has `count` training images and a fifth as many for testing (at least 1), uint8 [N, *`shape`]; labels are balanced.
    """
    stream = seeds.generator(0, "synthetic", spec)
    channels, height, width = shape
    coarse = torch.randn((classes, channels, min(4, height), min(4, width)), generator=stream)
    prototypes = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)

    def draw(number: int) -> tuple[Tensor, Tensor]:
        labels = (torch.arange(number) % classes)[torch.randperm(number, generator=stream)]
        images = torch.empty((number, *shape), dtype=torch.uint8)
        for some, label in zip(images.split(256), labels.split(256), strict=True):
            noise = torch.randn(some.shape, generator=stream)
            some.copy_((128 + 50 * prototypes[label] + 40 * noise).clamp_(0, 255))
        return images, labels

    return Contents(*draw(count), *draw(max(1, count // 5)))
