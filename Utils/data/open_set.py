"""From options to a dataset: opened once by a process, with what `--val-fraction` holds out."""

from __future__ import annotations

from typing import Protocol

import torch

from Utils.data.datasets import Dataset, open_dataset
from Utils.data.held_out import HeldOut

CPU = torch.device("cpu")


class DataOptions(Protocol):
    """The options that say what a dataset is."""

    dataset: str
    data_dir: str
    image_size: int | None
    augment: str | None
    no_download: bool
    workers: int
    val_fraction: float
    seed: int


class Datasets:
    """The datasets that a process has opened: runs that name the same one share it, so that it is read once for all devices.

    `processes` such processes share the machine, and with it the `--workers` that read large images.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._opened: dict[tuple[object, ...], Dataset] = {}
        self._moved: dict[tuple[object, ...], Dataset] = {}

    def open(self, options: DataOptions, device: torch.device) -> Dataset:
        """`open_data` of the same options before, or now; what is held out of it may differ."""
        names = ("dataset", "data_dir", "image_size", "augment", "no_download", "workers")
        key = tuple(getattr(options, name) for name in names)
        if key not in self._opened:
            workers = -(-options.workers // self._processes)
            self._opened[key] = _open_whole(options, CPU, workers)
        if (*key, device) not in self._moved:
            self._moved[*key, device] = self._opened[key].on(device)
        return _held_out(self._moved[*key, device], options)


def open_data(options: DataOptions, device: torch.device) -> Dataset:
    """The dataset that the options name, without what `--val-fraction` holds out of its training images.

    Nothing of it is read yet where its sizes are known beforehand.
    """
    return _held_out(_open_whole(options, device, options.workers), options)


def _held_out(data: Dataset, options: DataOptions) -> Dataset:
    return HeldOut(data, options.val_fraction, options.seed) if options.val_fraction else data


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
