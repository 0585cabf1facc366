"""Image files: search in trees of class folders, and decoding of files or of members of a zip.

`Utils.data.decoding` gives the pixels. Images of up to `SMALL` pixels are decoded once, in threads, to one uint8 tensor.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from Utils.base.errors import Refused
from Utils.data.augmentation import resize
from Utils.data.catalogue import SMALL, Facts, augment_for
from Utils.data.decoding import decode
from Utils.data.reader import ImageSource
from Utils.data.reading import Contents

LARGE = 224  # the size that larger images, and images of several sizes, are cut to
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_SLICE = 128  # images per task of the decoding threads

Listing = list[tuple[str, str]]  # (path, name of the class)


class MixedSizes(Exception):
    """Images differ in size, or are larger than `SMALL`."""


@dataclass
class Files:
    """Image files by path; `upright` ones are turned as their EXIF orientation says."""

    paths: Sequence[str]
    upright: bool = True

    def __len__(self) -> int:
        return len(self.paths)

    def content(self, index: int) -> bytes:
        """Read the bytes of file `index`."""
        try:
            return Path(self.paths[index]).read_bytes()
        except OSError as error:
            raise Refused(f"cannot read the image {self.paths[index]} ({error.strerror})") from error

    def image(self, index: int, content: bytes | None = None) -> Image.Image:
        """Return image `index` in RGB."""
        return decode(content or self.content(index), self.paths[index], self.upright)


class ZipMembers:
    """Image files inside a zip archive, read without unpacking it; their EXIF orientation is ignored."""

    def __init__(self, archive: Path, names: Sequence[str]):
        self.names, self._archive = names, zipfile.ZipFile(archive)

    def __len__(self) -> int:
        return len(self.names)

    def content(self, index: int) -> bytes:
        """Read the bytes of member `index`; threads may call this at the same time."""
        try:
            return self._archive.read(self.names[index])
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise Refused(f"cannot read {self.names[index]} in {self._archive.filename} ({error})") from error

    def image(self, index: int, content: bytes | None = None) -> Image.Image:
        """Return image `index` in RGB."""
        place = f"{self.names[index]} in {self._archive.filename}"
        return decode(content or self.content(index), place, upright=False)


def read_small(source: ImageSource, size: tuple[int, int] | None, title: str) -> Tensor:
    """Read all images as uint8 [N, C, H, W]; `size` (H, W) resizes them, with antialiasing.

    On a terminal it shows a progress bar.

    Raises:
        MixedSizes: without `size`, the images differ in size or are larger than `SMALL`.
    """
    from tqdm import tqdm

    first = source.image(0)
    shape = size or (first.height, first.width)
    if size is None and max(shape) > SMALL:
        raise MixedSizes
    pixels = np.empty((len(source), len(first.getbands()), *shape), np.uint8)

    def finish(index: int, content: Any) -> None:
        image = np.asarray(source.image(index, content))
        image = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
        if image.shape[1:] != shape and size is None:
            raise MixedSizes
        pixels[index] = image if image.shape[1:] == shape else resize(torch.from_numpy(image.copy()), shape).numpy()

    # Threads hide the latency of the disk. They slow the decoding of small images down, and speed up that of large ones.
    in_thread = (lambda index: finish(index, None)) if size else source.content
    with tqdm(total=len(source), desc=f"reading {title}", unit=" images", disable=None, leave=False) as bar:
        for start, contents in in_threads(in_thread, len(source)):
            for index, content in enumerate(contents, start):
                if size is None:
                    finish(index, content)
            bar.update(len(contents))
    return torch.from_numpy(pixels)


def in_threads(work: Callable[[int], Any], count: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield (start, results of `work` for start, start + 1, ...) in order.

    Only a few slices wait at a time, so that memory is bounded.
    """
    threads = min(16, 2 * (os.cpu_count() or 1))
    waiting: deque[tuple[int, Future[list[Any]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in range(0, count, _SLICE):
                indices = range(start, min(start + _SLICE, count))
                waiting.append((start, pool.submit(lambda indices: [work(index) for index in indices], indices)))
                if len(waiting) > 2 * threads:
                    begun, task = waiting.popleft()
                    yield begun, task.result()
            for begun, task in waiting:
                yield begun, task.result()
        finally:
            pool.shutdown(cancel_futures=True)


def read_pair(train: ImageSource, test: ImageSource, image_size: int | None, title: str) -> tuple[tuple[int, int], Any, Any]:
    """Return ((H, W), training images, test images): two tensors up to `SMALL` pixels, else the two sources unchanged.

    The size is `image_size` squared if given, else the common size of all images if that is small, else `LARGE` squared.
    """
    if image_size is not None and image_size > SMALL:
        return (image_size, image_size), train, test
    size = None if image_size is None else (image_size, image_size)
    try:
        images = read_small(train, size, f"{title} (train)")
        tests = read_small(test, size, f"{title} (test)")
    except MixedSizes:
        return (LARGE, LARGE), train, test
    if images.shape[1:] != tests.shape[1:]:
        return (LARGE, LARGE), train, test
    return tuple(images.shape[2:]), images, tests


def read_described(
    contents: Contents, channels: int, classes: int, image_size: int | None, title: str, mirrored: bool = True
) -> Contents:
    """Decode small images, and add the facts of a set that the catalogue does not know beforehand.

    By default, images of several channels are augmented according to their size, if they may be `mirrored`.
    """
    size, train, test = read_pair(contents.train, contents.test, image_size, title)
    augment = augment_for(max(size)) if mirrored and channels > 1 else "none"
    counts = len(contents.train_labels), len(contents.test_labels)
    facts = Facts((channels, *size), classes, *counts, augment, one_size=isinstance(train, Tensor))
    return contents._replace(train=train, test=test, facts=facts)


def list_tree(folder: Path) -> Listing:
    """List the images under `folder`/<class>/, sorted by class and then path.

    Raises:
        Refused: a folder cannot be read, or is empty; the message names it.
    """
    try:
        classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise Refused(f"cannot read the folder {folder} ({error.strerror})") from error
    if not classes:
        raise Refused(f"{folder} has no class folders: images are expected in {folder}{os.sep}<class>{os.sep}")
    listing = []
    for name in classes:
        found = list(_images(folder / name, set()))
        if not found:
            raise Refused(f"{folder / name} has no images ({' '.join(SUFFIXES)})")
        listing += [(path, name) for path in sorted(found)]
    return listing


def _images(folder: str | os.PathLike[str], seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the image files below `folder`; links are followed, each folder only once.

    Raises:
        Refused: a folder cannot be read, or an entry with the name of an image is not a file.
    """
    try:
        at = os.stat(folder)
        if (at.st_dev, at.st_ino) in seen:
            return
        seen.add((at.st_dev, at.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from _images(entry.path, seen)
                elif entry.name.lower().endswith(SUFFIXES):
                    if not entry.is_file():
                        raise Refused(f"{entry.path} is no regular file")
                    yield entry.path
    except OSError as error:
        raise Refused(f"cannot read the folder {folder} ({error.strerror})") from error


def number_classes(train: Listing, test: Listing, title: str) -> tuple[list[str], Tensor, Tensor]:
    """Return the class names in alphabetical order, and the labels (int64) of both listings.

    Raises:
        Refused: a class of the test images has no training images.
    """
    classes = sorted({name for _, name in train})
    numbers = {name: i for i, name in enumerate(classes)}
    for path, name in test:
        if name not in numbers:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            raise Refused(f"{title}: the class {name!r} of {path} has no training images; the training classes are {shown}")
    labels = (torch.tensor([numbers[name] for _, name in part], dtype=torch.int64) for part in (train, test))
    return (classes, *labels)


def files(listing: Listing, upright: bool = True) -> Files:
    """Return the listed images."""
    return Files([path for path, _ in listing], upright)
