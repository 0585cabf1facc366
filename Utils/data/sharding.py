"""The division of images into batches, and of each batch among several processes.

A share is (rank, ranks): process `rank` of `ranks`. (0, 1) is everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

IGNORED = -100  # the label that `cross_entropy` leaves out by default
LEAST = 2  # the fewest images of a process in a batch: BatchNorm cannot train on one


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return the sizes of the batches of `count` images.

    A single image left over joins the batch before, as BatchNorm cannot train on one.
    """
    sizes = [batch_size] * (count // batch_size)
    rest = count % batch_size
    if rest == 1 and sizes:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def part(count: int, share: tuple[int, int]) -> tuple[int, int]:
    """Return the beginning and the end of a share of `count` things.

    Shares are disjoint, in order, and differ in size by at most one.
    """
    rank, ranks = share
    return count * rank // ranks, count * (rank + 1) // ranks


class Taken(NamedTuple):
    """The share that a process takes of an epoch, batch after batch.

    Attributes:
        positions: the positions in the epoch's order, int64 [N], CPU.
        sizes: the sizes of its batches.
        own: bool [N]; false for filling, which is images of other shares of the same batch, added if the share has less than
            `LEAST` images.
    """

    positions: Tensor
    sizes: list[int]
    own: Tensor


def take(sizes: Sequence[int], share: tuple[int, int]) -> Taken:
    """Take one share of each of the batches of the given `sizes`, which follow each other."""
    size = torch.tensor(sizes, dtype=torch.int64)
    begin = size.cumsum(0) - size
    start, stop = (begin + edge for edge in part(size, share))
    least = size.clamp(max=LEAST)
    first = torch.minimum(start, begin + size - least)
    length = torch.maximum(stop, first + least) - first
    positions = torch.arange(int(length.sum())) + (first - length.cumsum(0) + length).repeat_interleave(length)
    own = (positions >= start.repeat_interleave(length)) & (positions < stop.repeat_interleave(length))
    return Taken(positions, length.tolist(), own)


def hide_filling(batches: Iterable[tuple[Tensor, Tensor]], taken: Taken) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the same batches with `IGNORED` as the label of filling."""
    for (images, labels), own in zip(batches, taken.own.split(taken.sizes), strict=True):
        yield images, labels if own.all() else labels.masked_fill(~own.to(labels.device), IGNORED)
