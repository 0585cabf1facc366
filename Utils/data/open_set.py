"""Opening a dataset by its name or by the options."""

from __future__ import annotations

import importlib
import os
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from Utils.base.errors import Refused
from Utils.data.catalogue import AUGMENTATIONS, SMALL, Facts, find, own_name
from Utils.data.dataset import Dataset
from Utils.data.held_out import draw_held_out
from Utils.data.reading import Contents, Place

CPU = torch.device("cpu")


class DataOptions(Protocol):
    """The options that determine a dataset."""

    dataset: str
    data_dir: str
    image_size: int | None
    augment: str | None
    no_download: bool
    workers: int
    val_fraction: float
    seed: int


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
    """Open the dataset `name` (see `Utils.data.catalogue`).

    It is read here if only its files tell its shape, else later by `Dataset.load`.

    `data_dir` is relative to the working directory. `image_size` resizes all images to a square. `workers` processes decode
    images above 64 pixels. `mirror` is the URL of a folder from which a named set's files are fetched.

    `augment` replaces the default, which is that of the catalogue. For a set that is not in the catalogue, the default is
    crop-flip for colour images of up to 64 pixels and the imagenet recipe for larger ones. It is none for images of one channel
    and for sets whose images must not be mirrored.

    Raises:
        Refused: no dataset has that name, an option does not fit it, or a set that is read here cannot be read.
    """
    entry, facts = find(name)
    name = own_name(name)
    if augment is not None and augment not in AUGMENTATIONS:
        raise Refused(f"augmentation {augment!r}: choose from {', '.join(AUGMENTATIONS)}")
    if image_size is not None and not 1 <= image_size <= 4096:
        raise Refused(f"image size {image_size}: choose from 1 to 4096 pixels")
    place = Place(Path(data_dir).expanduser().absolute(), download, mirror)
    read = partial(_read, entry.reader, facts, name, place, image_size)
    if facts is None:
        contents = read()
        facts, read = contents.facts, lambda: contents
    else:
        facts = facts.at(image_size)
    chosen = augment or facts.augment
    if chosen == "imagenet" and (facts.one_size or max(facts.shape[1:]) <= SMALL):
        raise Refused(f"augmentation 'imagenet' is for images of more than {SMALL} pixels; for {name} choose none or crop-flip")
    size = (image_size, image_size) if image_size and (image_size, image_size) != facts.shape[1:] else None
    return Dataset(name, facts, chosen, read, workers=workers, device=device, size=size)


def _read(reader: str, facts: Facts | None, name: str, place: Place, image_size: int | None) -> Contents:
    """Call the reader, "module:function", of the set `name`, and compare its result with the `facts`, or with its own.

    Raises:
        Refused: the numbers of images or classes differ, or the reader refuses the files.
    """
    module, _, function = reader.partition(":")
    contents = getattr(importlib.import_module(module), function)(name, place, image_size)
    facts = facts or contents.facts
    if facts is None:
        raise ValueError(f"neither the catalogue nor {reader} gives the facts of {name}")
    train, test, classes = len(contents.train_labels), len(contents.test_labels), int(contents.train_labels.max()) + 1
    if (train, test) != (facts.train_size, facts.test_size) or classes > facts.classes:
        found = f"{train} training and {test} test images in {classes} classes"
        raise Refused(f"the files of {name} have {found}, not {facts.train_size}, {facts.test_size} and {facts.classes}")
    return contents


class Datasets:
    """The datasets that a process has opened.

    Runs that name the same one share it, so that it is read once for all devices. `processes` such processes share the machine,
    and with it the `--workers` that read large images.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._opened: dict[tuple[object, ...], Dataset] = {}
        self._moved: dict[tuple[object, ...], Dataset] = {}

    def open(self, options: DataOptions, device: torch.device) -> Dataset:
        """Return the dataset of `open_data`, opened now or before for the same options; the held-out images may differ."""
        names = ("dataset", "data_dir", "image_size", "augment", "no_download", "workers")
        key = tuple(getattr(options, name) for name in names)
        if key not in self._opened:
            workers = -(-options.workers // self._processes)
            self._opened[key] = _open_whole(options, CPU, workers)
        if (*key, device) not in self._moved:
            self._moved[*key, device] = self._opened[key].on(device)
        return _hold_out(self._moved[*key, device], options)


def open_data(options: DataOptions, device: torch.device) -> Dataset:
    """Open the dataset that the options name, without the training images that `--val-fraction` holds out.

    It is read later if its sizes are known beforehand.
    """
    return _hold_out(_open_whole(options, device, options.workers), options)


def _hold_out(data: Dataset, options: DataOptions) -> Dataset:
    if not options.val_fraction:
        return data
    return data.without(draw_held_out(data.train_size, options.val_fraction, options.seed))


def _open_whole(options: DataOptions, device: torch.device, workers: int) -> Dataset:
    return open_dataset(
        options.dataset,
        options.data_dir,
        image_size=options.image_size,
        augment=options.augment,
        download=not options.no_download,
        workers=workers,
        device=device,
    )
