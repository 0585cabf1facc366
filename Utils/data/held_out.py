"""The draw of the training images that are held out, for choices that must not use the test set (`--val-fraction`)."""

from __future__ import annotations

import torch
from torch import Tensor

from Utils.base import seeds
from Utils.base.errors import Refused


def draw_held_out(count: int, fraction: float, seed: int) -> Tensor:
    """Draw round(`fraction` * `count`) of `count` training images; return their indices, int64, ascending, on the CPU.

    They are the first of a permutation from a separate random stream, which the seed and the count determine.

    Raises:
        Refused: the fraction holds out none or all of the images.
    """
    held = round(fraction * count)
    if not 0 < held < count:
        raise Refused(f"--val-fraction {fraction:g} holds out {held} of the {count} training images")
    return torch.randperm(count, generator=seeds.generator(seed, "validation"))[:held].sort().values
