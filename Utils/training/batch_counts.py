"""BatchNorm's counters of batches, which one addition an epoch keeps, in place of one in each step and layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


@dataclass
class BatchCount:
    """The number of batches that a network has trained on so far in this epoch."""

    steps: int = 0


@contextmanager
def counting_batches(model: nn.Module) -> Iterator[BatchCount]:
    """Take the counters out of the BatchNorm layers of `model` while it trains; at the end add the steps that the caller counted.

    A layer whose `momentum` is None averages over all batches and reads its counter, which therefore stays. So do those of
    subclasses.
    """
    layers = [m for m in model.modules() if type(m) in KINDS and m.momentum is not None and m.training]
    counters: list[tuple[nn.Module, torch.Tensor]] = [(m, c) for m in layers if (c := m.num_batches_tracked) is not None]
    count = BatchCount()
    for module, _ in counters:
        module.num_batches_tracked = None
    try:
        yield count
    finally:
        for module, counter in counters:
            module.num_batches_tracked = counter.add_(count.steps)
