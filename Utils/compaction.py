"""Compaction of a run's network: without its dead units, proved to compute the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from Models.compact import Compact, compact, largest_difference
from Models.masking import Prunable
from Pruners.effective import find_paths
from Utils.data.datasets import Dataset
from Utils.errors import RunFailed, out_of_memory
from Utils.measuring import has_path
from Utils.seeds import generator

TOLERANCE = 1e-5  # of the largest output
RANDOM, REAL = 2, 2  # images that the two networks are compared on


def compacted(model: nn.Module, prunables: Sequence[Prunable], data: Dataset) -> Compact:
    """`model`, whose masks are written to its weights, without its dead units; it is left as it was.

    Raises:
        RunFailed: no path from input to output is left, the network cannot be cut, or the small one computes something else.
    """
    if not has_path(model, prunables, data.input_shape):
        raise RunFailed("nothing to compact: no path is left from the input to the output, the network is constant")
    try:
        small = compact(model, prunables, find_paths(model, prunables, data.input_shape), data.input_shape)
        difference = largest_difference(model, small.model, _images(data))
    except (RuntimeError, ValueError, AttributeError, AssertionError, IndexError, TypeError) as error:
        if out_of_memory(error):
            raise
        raise RunFailed(f"the network cannot be compacted: {' '.join(str(error).split())}") from error
    if not difference <= TOLERANCE:
        raise RunFailed(f"the network cannot be compacted: the small one's outputs differ by {difference:.1e} of the largest")
    return small


def _images(data: Dataset) -> torch.Tensor:
    """Random and real images [B, C, H, W], on the device of the data."""
    real = next(iter(data.test_batches(REAL)))[0]
    noise = torch.randn(RANDOM, *data.input_shape, generator=generator(0, "compaction"))
    return torch.cat([noise.to(real), real])
