"""The reader of tiny-imagenet, from its zip or unpacked in either layout."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from Utils.base.errors import Refused
from Utils.data import image_files
from Utils.data.download import check_md5, missing
from Utils.data.reader import ImageSource
from Utils.data.reading import Contents, Place

ZIP, MD5, URL = "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de", "http://cs231n.stanford.edu"
SIZES = (100000, 10000)  # training and validation images


def list_images(paths: Sequence[str], read: Callable[[str], str]) -> tuple[image_files.Listing, image_files.Listing]:
    """List the images of tiny-imagenet from all its paths (below tiny-imagenet-200/, with slashes).

    `read` gives a file's text. Validation images lie in val/images/ with their classes in val_annotations.txt, or, rearranged,
    below val/<class>/. An interrupted rearrangement has both.
    """
    train, test = [], []
    annotated = {}
    if "val/val_annotations.txt" in paths:
        annotated = dict(line.split("\t")[:2] for line in read("val/val_annotations.txt").splitlines() if "\t" in line)
    for path in paths:
        parts = path.split("/")
        if len(parts) < 3 or not path.lower().endswith(image_files.SUFFIXES):
            continue
        name = annotated.get(parts[-1]) if parts[:2] == ["val", "images"] else parts[1]
        if name and parts[0] in ("train", "val"):
            (train if parts[0] == "train" else test).append((path, name))
    # sorted by file name, not path, so that both layouts have one order
    return tuple(sorted(part, key=lambda entry: (entry[1], entry[0].rsplit("/", 1)[1])) for part in (train, test))


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Read tiny-imagenet from its zip, without unpacking it, or from the folder tiny-imagenet-200 if there is no zip.

    Raises:
        Refused: the files are missing and cannot be fetched, or the zip is corrupt.
    """
    archive, root = place.data_dir / ZIP, place.data_dir / "tiny-imagenet-200"
    if not archive.is_file():
        paths = [Path(at, file).relative_to(root).as_posix() for at, _, found in os.walk(root) for file in found]
        train, test = list_images(paths, lambda path: (root / path).read_text())
        if (len(train), len(test)) == SIZES:
            return _read_listings(train, test, lambda found: image_files.Files([str(root / path) for path in found], False))
        if not place.download and root.is_dir():
            why = f"{root} is incomplete ({len(train)} of 100000 and {len(test)} of 10000 images), --no-download was given"
            raise missing(name, [ZIP], [place.data_dir], why)
        place.obtain(name, place.data_dir, {ZIP: (MD5,)}, (URL,), [place.data_dir])
    check_md5(archive, MD5)
    return read_zip(archive)


def read_zip(archive: Path) -> Contents:
    """Decode all of tiny-imagenet's zip."""
    prefix = "tiny-imagenet-200/"
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name.removeprefix(prefix) for name in opened.namelist() if name.startswith(prefix)]
            train, test = list_images(names, lambda name: opened.read(prefix + name).decode())
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise Refused(f"cannot read {archive} ({error})") from error
    return _read_listings(train, test, lambda found: image_files.ZipMembers(archive, [prefix + path for path in found]))


def _read_listings(train: image_files.Listing, test: image_files.Listing, source: Callable[[list[str]], ImageSource]) -> Contents:
    _, train_labels, test_labels = image_files.number_classes(train, test, "tiny-imagenet")
    images = [image_files.read_small(source([path for path, _ in part]), (64, 64), "tiny-imagenet") for part in (train, test)]
    return Contents(images[0], train_labels, images[1], test_labels)
