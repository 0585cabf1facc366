"""Which datasets there are, and one way to open, read and iterate over all of them.

`Dataset` knows shapes and sizes without reading a file where that is possible; `load` reads once, and then the batches
come from `Utils.data.batches`. This module imports neither torch nor torchvision before a set is opened.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Utils.base.errors import Refused
from Utils.data.catalogue import (
    ALIASES,
    AUGMENTATIONS,
    CHOICES,
    NAMED,
    NAMES,
    NOT_MIRRORED,
    SMALL,
    Named,
    check_name,
    describe,
    parse_synthetic,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from Utils.data.namedsets import Contents

__all__ = ["CHOICES", "NAMES", "Dataset", "check_name", "describe", "open_dataset"]


class Dataset:
    """A dataset in two parts, and batches of both; made by `open_dataset`.

    `input_shape` (C, H, W), `num_classes`, `train_size`, `val_size`, `test_size` and `augment` are known from the start; `mean`
    and `std` per channel (in units of pixel / 255) are final after `load`, and `train_labels`, `test_labels` (int64, CPU)
    exist from then on. Batches are (float32 [B, C, H, W], int64 [B]) on the device.
    """

    def __init__(
        self,
        name: str,
        facts: Named,
        augment: str,
        read: Callable[[], Contents],
        *,
        workers: int = 4,
        device: torch.device | str = "cpu",
        size: tuple[int, int] | None = None,
    ):
        self.name, self.augment = name, augment
        self.input_shape, self.num_classes = facts.shape, facts.classes
        self.train_size, self.test_size = facts.train_size, facts.test_size
        self.mean, self.std = facts.mean, facts.std
        self._read: Callable[[], Contents] | None = read
        self._workers, self._device, self._size = workers, device, size
        if size:
            self.input_shape = (facts.shape[0], *size)
        self._train: Any = None
        self.val_size = 0
        self._among: Tensor | None = None  # the training images that are not held out; None: all

    def load(self) -> None:
        """Read the set, fetching it first if need be; does nothing the second time. Raises `Refused` if that cannot be."""
        if self._train is not None:
            return
        contents = self._read()  # type: ignore[misc]
        sizes = len(contents.train_labels), len(contents.test_labels)
        if sizes != (self.train_size, self.test_size) or int(contents.train_labels.max()) >= self.num_classes:
            found = f"{sizes[0]} training and {sizes[1]} test images in {int(contents.train_labels.max()) + 1} classes"
            raise Refused(
                f"the files of {self.name} have {found}, not {self.train_size}, {self.test_size} and {self.num_classes}"
            )
        self.train_labels, self.test_labels = contents.train_labels, contents.test_labels
        self._make_splits(contents)
        self._read = None  # a folder's images need not be kept a second time

    def on(self, device: torch.device) -> Dataset:
        """The same set with its images on `device`: this one is read, once, and copied from."""
        if str(device) == str(self._device):
            return self
        moved = copy.copy(self)

        def read() -> Contents:
            from Utils.data.namedsets import Contents

            self.load()
            moved.mean, moved.std = self.mean, self.std
            return Contents(self._train.content, self.train_labels, self._test.content, self.test_labels)

        moved._train, moved._device, moved._read = None, device, read
        return moved

    def _make_splits(self, contents: Contents) -> None:
        import torch

        from Utils.data import batches

        if isinstance(contents.train, torch.Tensor):
            if not self.mean:
                self.mean, self.std = batches.statistics(contents.train)
            train, test = (
                batches.TensorSplit(images.to(self._device), labels.to(self._device), self.mean, self.std, augment, self._size)
                for images, labels, augment in (
                    (contents.train, contents.train_labels, self.augment),
                    (contents.test, contents.test_labels, "none"),
                )
            )
        else:
            size, rest = self.input_shape[1], (self._workers, self._device)
            train = batches.LoaderSplit(contents.train, contents.train_labels, size, self.augment, *rest)
            test = batches.LoaderSplit(contents.test, contents.test_labels, size, "none", *rest)
            if not self.mean:
                self.mean, self.std = train.statistics()
            train.set_statistics(self.mean, self.std)
            test.set_statistics(self.mean, self.std)
        self._train, self._test = train, test

    def train_batches(
        self, batch_size: int, seed: int, phase: str, epoch: int, share: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The training images, shuffled and augmented as (seed, phase, epoch) alone decides; the last batch may be smaller.

        Of every batch only `share` (rank, ranks) is prepared, filled up with other images of the batch, labelled -100, where
        it has less than two.
        """
        self.load()
        if share[1] == 1:
            return self._train.train_batches(batch_size, seed, phase, epoch, among=self._among)
        from Utils.data import sharding

        taken = sharding.take(sharding.batch_sizes(self.train_size, batch_size), share)
        return sharding.hide_filling(self._train.train_batches(batch_size, seed, phase, epoch, taken, self._among), taken)

    def test_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """The test images in order, or a `share` of them, never augmented; the last batch may be smaller."""
        self.load()
        if share[1] == 1:
            return self._test.plain_batches(batch_size)
        import torch

        from Utils.data import sharding

        return self._test.plain_batches(batch_size, torch.arange(*sharding.part(self.test_size, share)))

    def val_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Iterator[tuple[Tensor, Tensor]]:
        """The training images held out: see `validation.HeldOut`."""
        raise ValueError("no training images are held out")

    def scoring_subset(self, count: int) -> Tensor:
        """Indices of `count` training images (int64), drawn from the global generator: of a permutation of all, the first."""
        import torch

        return torch.randperm(self.train_size)[:count]

    def subset_batches(self, indices: Tensor, batch_size: int) -> list[tuple[Tensor, Tensor]]:
        """The training images `indices` (int64) in the given order, never augmented, read once."""
        self.load()
        return list(self._train.plain_batches(batch_size, indices))


def open_dataset(
    name: str,
    data_dir: str | os.PathLike[str] = "Data",
    *,
    image_size: int | None = None,
    augment: str | None = None,
    download: bool = True,
    mirror: str | None = None,
    workers: int = 4,
    device: torch.device | str = "cpu",
) -> Dataset:
    """The dataset `name` (see `CHOICES`); named and synthetic sets are not read before `load`, others are read here.

    `data_dir` is relative to the working directory. `image_size` resizes all images to a square. `augment`
    stands in for the default: crop-flip for cifar10, cifar100, tiny-imagenet and for folder: and torchvision images of up to
    64 pixels in three channels, the imagenet recipe for such images above 64, none for mnist, fashion-mnist, synthetic,
    images of one channel, and torchvision's sets of digits, letters, text and traffic signs. `workers` processes decode
    images above 64 pixels; `mirror` is the URL of a folder from which a named set's files are fetched.
    """
    check_name(name)
    name = ALIASES.get(name, name)
    if augment is not None and augment not in AUGMENTATIONS:
        raise Refused(f"augmentation {augment!r}: choose from {', '.join(AUGMENTATIONS)}")
    if image_size is not None and not 1 <= image_size <= 4096:
        raise Refused(f"image size {image_size}: choose from 1 to 4096 pixels")
    from Utils.data.namedsets import Place

    place = Place(Path(data_dir).expanduser().absolute(), download, mirror)
    if name in NAMES or name.startswith("synthetic:"):
        facts, read = _known(name, place, image_size)
    else:
        facts, read = _opened(name, place, image_size)
    chosen = augment or facts.augment
    if chosen == "imagenet" and (max(facts.shape[1:]) <= SMALL or name.startswith("synthetic:")):
        raise Refused(f"augmentation 'imagenet' is for images of more than {SMALL} pixels; for {name} choose none or crop-flip")
    # Sets of one known size are held as they are and resized batch by batch.
    size = (image_size, image_size) if image_size and (image_size, image_size) != facts.shape[1:] else None
    return Dataset(name, facts, chosen, read, workers=workers, device=device, size=size)


def _known(name: str, place: Any, image_size: int | None) -> tuple[Named, Callable[[], Contents]]:
    """Facts and reader of a named or a synthetic set."""
    from Utils.data import imagesets, namedsets

    if name.startswith("synthetic:"):
        shape, classes, count = parse_synthetic(name)
        facts = Named(shape, classes, count, max(1, count // 5), "none", "made up")
        read = partial(namedsets.make_synthetic, name, shape, classes, count)
    elif name == "imagenet":
        size = image_size or NAMED[name].shape[1]
        facts = replace(NAMED[name], shape=(3, size, size), augment="imagenet" if size > SMALL else "crop-flip")
        return facts, partial(imagesets.read_imagenet, place, size)
    else:
        facts = NAMED[name]
        reader = namedsets.read_cifar if name in namedsets.CIFAR else namedsets.read_idx_set
        read = partial(imagesets.read_tiny, place) if name == "tiny-imagenet" else partial(reader, name, place)
    return facts, read


def _opened(name: str, place: Any, image_size: int | None) -> tuple[Named, Callable[[], Contents]]:
    """Facts and contents of a folder: or a torchvision set, which have to be looked at to be known."""
    from Utils.data import imagefolder, torchvision_sets
    from Utils.data.namedsets import Contents

    if name.startswith("folder:"):
        root = Path(name.removeprefix("folder:")).expanduser().absolute()
        listings = imagefolder.find_trees(root)
        names, *labels = imagefolder.number(*listings, name)
        train, test = (imagefolder.files(listing) for listing in listings)
        contents, classes, channels = Contents(train, labels[0], test, labels[1]), len(names), 3
    else:
        contents, classes = torchvision_sets.sources(name, *torchvision_sets.open_pair(name, place))
        channels = 1 if contents.train.mode == "L" else 3
    size, images, tests = imagefolder.read_pair(contents.train, contents.test, image_size, name)
    contents = contents._replace(train=images, test=tests)
    augment = "crop-flip" if max(size) <= SMALL else "imagenet"
    if channels == 1 or name in NOT_MIRRORED:
        augment = "none"
    facts = Named((channels, *size), classes, len(contents.train_labels), len(contents.test_labels), augment, "")
    return facts, lambda: contents
