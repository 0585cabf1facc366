"""One dataset: its constants, and batches of its images. `Utils.data.open_set` makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from Utils.base.errors import Refused
from Utils.data import batches, sharding
from Utils.data.catalogue import Facts, folder_of
from Utils.data.large_images import LoaderSplit
from Utils.data.reader import Reader
from Utils.data.reading import Contents

FAINT = 1 / 32  # standard deviation of pixels / 255 below which images are hardly visible


class Dataset:
    """A dataset in two parts, and batches of both; made by `open_dataset`.

    Known from the start are `input_shape` (C, H, W), `num_classes`, `train_size`, `val_size`, `test_size` and `augment`. After
    `load`, `mean` and `std` per channel (in units of pixel / 255) are final, and `train_labels`, `test_labels` (int64, CPU)
    exist. Batches are (float32 [B, C, H, W], int64 [B]) on the device.

    `val_indices` are the training images held out: int64 [val_size], ascending, numbered as in the whole training set, or None.
    Training never sees these images; `train_size` and `train_labels` describe the others.
    """

    def __init__(
        self,
        name: str,
        facts: Facts,
        augment: str,
        read: Callable[[], Contents],
        *,
        workers: int = 4,
        device: torch.device | str = "cpu",
        size: tuple[int, int] | None = None,
        held_out: Tensor | None = None,
    ):
        self.name, self.augment = name, augment
        self.input_shape = (facts.shape[0], *size) if size else facts.shape
        self.num_classes, self.test_size = facts.classes, facts.test_size
        self.mean, self.std = facts.mean, facts.std
        self.val_indices, self.val_size = held_out, 0 if held_out is None else len(held_out)
        self.train_size = facts.train_size - self.val_size
        self._among: Tensor | None = None  # the training images that are not held out; None: all
        if held_out is not None:
            self._among = torch.ones(facts.train_size, dtype=torch.bool).index_fill_(0, held_out, False).nonzero()[:, 0]
        self._facts, self._workers, self._device, self._size = facts, workers, device, size
        self._read: Callable[[], Contents] | None = read
        self._train: batches.TensorSplit | LoaderSplit | None = None

    def load(self) -> None:
        """Read the set, and fetch it first if necessary; a second call does nothing.

        Raises:
            Refused: the set cannot be read or fetched.
        """
        if self._train is not None:
            return
        contents = self._read()  # type: ignore[misc]
        if contents.facts:
            self.mean, self.std = contents.facts.mean, contents.facts.std
        self.train_labels = contents.train_labels if self._among is None else contents.train_labels[self._among]
        self.test_labels = contents.test_labels
        self._all_labels = contents.train_labels
        self._make_splits(contents)
        self._read = None  # frees a folder's images, which are held twice otherwise

    @property
    def decoded(self) -> bool:
        """Whether processes decode the images anew in each pass; the set must be loaded."""
        return isinstance(self._train, LoaderSplit)

    def on(self, device: torch.device) -> Dataset:
        """Return the same set with its images on `device`; this one is read once, and the other copies from it."""
        return self if str(device) == str(self._device) else self._share(device, self.val_indices)

    def without(self, held_out: Tensor) -> Dataset:
        """Return the same set, sharing its images, with the training images `held_out` (int64, ascending) held out."""
        part = self._share(self._device, held_out)
        if self._train is not None:
            part.load()
        return part

    def _share(self, device: torch.device | str, held_out: Tensor | None) -> Dataset:
        facts = replace(self._facts, mean=self.mean, std=self.std)
        options = {"workers": self._workers, "device": device, "size": self._size, "held_out": held_out}
        return Dataset(self.name, facts, self.augment, self._contents, **options)

    def _contents(self) -> Contents:
        """Return all images and labels of this set, and the mean and deviation that were computed."""
        self.load()
        facts = replace(self._facts, mean=self.mean, std=self.std)
        return Contents(self._train.content, self._all_labels, self._test.content, self.test_labels, facts)

    def _make_splits(self, contents: Contents) -> None:
        if isinstance(contents.train, Tensor):
            if not self.mean:
                self._set_statistics(*batches.statistics(contents.train))
            train, test = (
                batches.TensorSplit(images.to(self._device), labels.to(self._device), self.mean, self.std, augment, self._size)
                for images, labels, augment in (
                    (contents.train, contents.train_labels, self.augment),
                    (contents.test, contents.test_labels, "none"),
                )
            )
        else:
            reader = Reader((contents.train, contents.test), self.input_shape[1], self._workers, self._device)
            train = LoaderSplit(reader, 0, contents.train_labels, self.augment)
            test = LoaderSplit(reader, 1, contents.test_labels, "none")
            if not self.mean:
                self._set_statistics(*train.statistics())
            train.set_statistics(self.mean, self.std)
            test.set_statistics(self.mean, self.std)
        self._train, self._test = train, test

    def _set_statistics(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Fix the computed mean and deviation; a WARNING says so if next to nothing can be seen on a user's own images.

        Raises:
            Refused: all their pixels are alike, as those of deep images whose values fill a small part of the range.
        """
        self.mean, self.std = mean, std
        if folder_of(self.name) is None:
            return
        advice = "spread values of 16 bits over 0 to 65535, and put white drawings on a background that is not transparent"
        if all(value == 1 for value in std):  # the deviation of a constant channel, see `batches.statistics`
            levels = "/".join(f"{255 * value:.0f}" for value in mean)
            raise Refused(f"all pixels of the training images of {self.name} are {levels} of 255: {advice}")
        if max(std) < FAINT:
            found = f"the training images of {self.name} deviate by {255 * max(std):.2g} of 255 grey levels only"
            print(f"WARNING: {found}: {advice}")

    def train_batches(
        self, batch_size: int, seed: int, phase: str, epoch: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the training images, shuffled and augmented by (seed, phase, epoch); the last batch may be smaller.

        Of every batch, only `share` (rank, ranks) is prepared. A share of less than two images is filled up with other images of
        the batch, which get the label -100.
        """
        self.load()
        if share[1] == 1:
            return self._train.train_batches(batch_size, seed, phase, epoch, among=self._among)
        taken = sharding.take(sharding.batch_sizes(self.train_size, batch_size), share)
        return sharding.hide_filling(self._train.train_batches(batch_size, seed, phase, epoch, taken, self._among), taken)

    def test_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the test images in order, or a `share` of them, never augmented; the last batch may be smaller."""
        self.load()
        if share[1] == 1:
            return self._test.plain_batches(batch_size)
        return self._test.plain_batches(batch_size, torch.arange(*sharding.part(self.test_size, share)))

    def val_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images held out, in order, or a `share` of them, never augmented; the last batch may be smaller."""
        if self.val_indices is None:
            raise ValueError("no training images are held out")
        self.load()
        return self._train.plain_batches(batch_size, self.val_indices[slice(*sharding.part(self.val_size, share))])

    def scoring_subset(self, count: int) -> Tensor:
        """Draw the indices (int64) of `count` training images: the first of a permutation from the global generator.

        Held-out images are skipped, so that the draw is the same whichever images are held out.
        """
        drawn = torch.randperm(self._facts.train_size)
        if self.val_indices is not None:
            drawn = drawn[~torch.isin(drawn, self.val_indices)]
        return drawn[:count]

    def subset_batches(self, indices: Tensor, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """Return the training images `indices` (int64) in the given order, not augmented, read once."""
        self.load()
        return list(self._train.plain_batches(batch_size, indices))
