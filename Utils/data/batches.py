"""Batches of normalised, augmented images on the device, in an order that depends only on (seed, phase, epoch).

`TensorSplit` holds small images as one uint8 tensor on the device. It prepares a few hundred at a time, without PIL, without
worker processes, and without waiting for the device. `LoaderSplit` in `Utils/data/large_images.py` reads large images from disk.

Both offer `labels`, `train_batches` and `plain_batches`; a batch is (float32 [B, C, H, W], int64 [B]). `train_batches` are
shuffled and augmented by (seed, phase, epoch). Only the images that are `taken` of the epoch are prepared (see
`Utils/data/sharding.py`), by default all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from Utils.base import seeds
from Utils.data.augmentation import PADDING, Normaliser, crop_flip, resize
from Utils.data.sharding import Taken, batch_sizes

CHUNK_BYTES = 4 << 20  # float32 images prepared at once: fits in the caches of a CPU, keeps a GPU busy

Batches = Iterator[tuple[Tensor, Tensor]]


def statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and (population) standard deviation per channel of uint8 [N, C, H, W] / 255.

    They are exact, computed from the 256 counts. A constant channel gets the standard deviation 1, so that it can be divided by.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        share = torch.bincount(channel.reshape(-1), minlength=256).double() / channel.numel()
        mean = (share * values).sum()
        std = (share * (values - mean) ** 2).sum().sqrt()
        means.append(float(mean))
        stds.append(float(std) or 1.0)
    return tuple(means), tuple(stds)


def epoch_order(count: int, seed: int, phase: str, epoch: int, among: Tensor | None = None) -> Tensor:
    """Draw the order in which an epoch visits its images: int64 [count], CPU, determined by (seed, phase, epoch).

    It is a permutation of 0..count-1, or of the `count` indices `among` (int64, CPU).
    """
    order = torch.randperm(count, generator=seeds.generator(seed, "order", phase, epoch))
    return order if among is None else among[order]


class TensorSplit:
    """Images held as one uint8 tensor [N, C, H, W], with labels int64 [N] on the same device.

    Batches are resized to `size` (height, width), after augmentation and before normalisation.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        mean: Sequence[float],
        std: Sequence[float],
        augment: str = "none",
        size: tuple[int, int] | None = None,
    ):
        self.images, self.labels, self.augment, self.size = images, labels, augment, size
        self.content = images
        self.normalise = Normaliser(mean, std, images.device)

    def train_batches(
        self, batch_size: int, seed: int, phase: str, epoch: int, taken: Taken | None = None, among: Tensor | None = None
    ) -> Batches:
        """Yield batches of `batch_size` (the last may be smaller) of all images, or of the images `among` (int64, CPU)."""
        count, device = len(self.images) if among is None else len(among), self.images.device
        at, sizes = (taken.positions, taken.sizes) if taken else (slice(None), batch_sizes(count, batch_size))
        order = epoch_order(count, seed, phase, epoch, among)[at].to(device)
        if self.augment == "none":
            yield from self._picked(order, sizes)
            return
        stream = seeds.generator(seed, "augment", phase, epoch)
        shifts = torch.randint(0, 2 * PADDING + 1, (2, count), generator=stream)[:, at].to(device)
        flips = torch.randint(0, 2, (count,), generator=stream).bool()[at].to(device)
        for start, stop, group in self._chunks(sizes):
            picked = order[start:stop]
            images = self.images.index_select(0, picked)
            images = crop_flip(images, shifts[0, start:stop], shifts[1, start:stop], flips[start:stop])
            yield from self._split(images, self.labels.index_select(0, picked), group)

    def plain_batches(self, batch_size: int, order: Tensor | None = None) -> Batches:
        """Yield all images, or those that `order` (int64) names, in order and not augmented."""
        if order is not None:
            yield from self._picked(order.to(self.images.device), batch_sizes(len(order), batch_size))
            return
        for start, stop, group in self._chunks(batch_sizes(len(self.images), batch_size)):
            yield from self._split(self.images[start:stop], self.labels[start:stop], group)

    def _picked(self, order: Tensor, sizes: list[int]) -> Batches:
        for start, stop, group in self._chunks(sizes):
            images, labels = (part.index_select(0, order[start:stop]) for part in (self.images, self.labels))
            yield from self._split(images, labels, group)

    def _chunks(self, sizes: list[int]) -> Iterator[tuple[int, int, list[int]]]:
        """Yield ranges of about `CHUNK_BYTES`, and the sizes of the batches in each."""
        height, width = self.size or self.images.shape[2:]
        batch_size = sizes[0] if sizes else 1
        count = max(1, CHUNK_BYTES // (4 * self.images.shape[1] * height * width * batch_size))
        start = 0
        for first in range(0, len(sizes), count):
            group = sizes[first : first + count]
            yield start, start + sum(group), group
            start += sum(group)

    def _split(self, images: Tensor, labels: Tensor, sizes: list[int]) -> Batches:
        if self.size:
            images = resize(images, self.size)
        return zip(self.normalise(images).split(sizes), labels.split(sizes), strict=True)
