"""Batches of images larger than 64 pixels, which are decoded anew in every epoch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from Utils.base import seeds
from Utils.data.augmentation import Normaliser, move
from Utils.data.batches import Batches, epoch_order, statistics
from Utils.data.reader import Reader, Request
from Utils.data.sharding import Taken, batch_sizes

STATISTICS_IMAGES = 2000  # images from which mean and standard deviation are taken


class LoaderSplit:
    """The images of source `part` of `reader`, with labels int64 [N].

    Batches come from the reader's processes as uint8. They are normalised on its device, after the crops and the mirroring where
    those are left to the device.
    """

    def __init__(self, reader: Reader, part: int, labels: Tensor, augment: str) -> None:
        self.reader, self.part, self.augment = reader, part, augment
        self.content = reader.sources[part]
        self.device = reader.device
        self.labels = labels.to(self.device)
        self.normalise: Normaliser | None = None

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Fix the mean and deviation that batches are normalised with."""
        self.normalise = Normaliser(mean, std, self.device)

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Compute mean and deviation per channel of up to `STATISTICS_IMAGES` evenly spaced images, cut as for testing."""
        every = -(-len(self.content) // STATISTICS_IMAGES)
        parts = torch.arange(0, len(self.content), every).split(64)
        requests = [Request(self.part, part.tolist()) for part in parts]
        return statistics(torch.cat([images for images, _ in self.reader.read(requests)]))

    def train_batches(
        self, batch_size: int, seed: int, phase: str, epoch: int, taken: Taken | None = None, among: Tensor | None = None
    ) -> Batches:
        """Yield batches of `batch_size` (the last may be smaller) of all images, or of the images `among` (int64, CPU)."""
        count = len(self.content) if among is None else len(among)
        at, sizes = (taken.positions, taken.sizes) if taken else (slice(None), batch_sizes(count, batch_size))
        drawn = seeds.derive(seed, "augment", phase, epoch) if self.augment != "none" else None
        return self._batches(epoch_order(count, seed, phase, epoch, among)[at], sizes, self.augment, drawn)

    def plain_batches(self, batch_size: int, order: Tensor | None = None) -> Batches:
        """Yield all images, or those that `order` (int64) names, in order and not augmented."""
        order = torch.arange(len(self.content)) if order is None else order.cpu()
        return self._batches(order, batch_sizes(len(order), batch_size), "none", None)

    def _batches(self, order: Tensor, sizes: list[int], augment: str, seed: int | None) -> Batches:
        labels = self.labels.index_select(0, order.to(self.device)).split(sizes)
        requests = [Request(self.part, part.tolist(), augment, seed) for part in order.split(sizes)]
        for (images, moves), target in zip(self.reader.read(requests), labels, strict=True):
            images, moves = (tensor.to(self.device, non_blocking=True) for tensor in (images, moves))
            yield self.normalise(move(images, moves, augment)), target
