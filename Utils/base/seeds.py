"""Random streams that do not disturb each other.

The global generator is seeded once with `--seed` and draws the scoring subset and the initial weights, as Synaptic-Flow does.
Everything after that (batch order, augmentation, random scores, dropout) has its own stream, which depends only on the seed and
on its purpose. No pruner can therefore shift the training of another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """Derive a 63-bit seed from `seed` and a purpose such as `("order", "post-train", 3)`.

    It is the same in all versions and on all machines.
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Make a CPU generator seeded with `derive(seed, *purpose)`; drawing on the CPU makes all devices agree."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *purpose))
