"""The images of the comparisons: real MNIST, and noise of CIFAR-10's shape, which costs the same as pictures."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

MNIST_STATISTICS = ((0.1307,), (0.3081,))
CIFAR_STATISTICS = ((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))
MNIST = Path(__file__).resolve().parent.parent / "Data/MNIST/raw"


@dataclass(frozen=True)
class Images:
    """uint8 arrays [N, H, W] or [N, H, W, 3] with labels [N]."""

    pixels: np.ndarray
    labels: np.ndarray

    def picture(self, index: int) -> Image.Image:
        """Return image `index` as torchvision's datasets give it."""
        return Image.fromarray(self.pixels[index])


@cache
def mnist(train: bool) -> Images:
    """Read MNIST's training or test images."""
    part = "train" if train else "t10k"
    raw = {kind: gzip.decompress((MNIST / f"{part}-{kind}-ubyte.gz").read_bytes()) for kind in ("images-idx3", "labels-idx1")}
    pixels = np.frombuffer(raw["images-idx3"], np.uint8, offset=16).reshape(-1, 28, 28)
    return Images(pixels, np.frombuffer(raw["labels-idx1"], np.uint8, offset=8))


@cache
def cifar_like() -> Images:
    """Draw 3,200 images of 32x32x3 noise in ten classes."""
    draws = np.random.default_rng(0)
    return Images(draws.integers(0, 256, (3200, 32, 32, 3), dtype=np.uint8), np.arange(3200) % 10)


@cache
def scoring_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Draw 100 normalised images of CIFAR-10's shape, ten of each class."""
    return torch.randn(100, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(100) % 10
