"""Random streams that cannot disturb each other.

The global generator is seeded once with `--seed` and draws the scoring subset and the initial weights, as Synaptic-Flow
does. Everything after that (batch order, augmentation, random scores, dropout) has a stream of its own, a function of the
seed and of what it is for, so that no pruner can shift the training of another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed from `seed` and a purpose such as `("order", "post-train", 3)`; stable over versions and machines."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator seeded with `derive(seed, *purpose)`: draws are made on the CPU so that devices agree."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *purpose))
