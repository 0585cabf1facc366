"""Reading tiny-imagenet, straight from its zip or unpacked in either layout, and imagenet."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from Utils.base.errors import Refused
from Utils.data import imagefolder
from Utils.data.batches import ImageSource
from Utils.data.download import missing
from Utils.data.namedsets import Contents, Place, check_md5

TINY_ZIP, TINY_MD5, TINY_URL = "tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de", "http://cs231n.stanford.edu"
TINY_SIZES = (100000, 10000)


def tiny_listings(paths: Sequence[str], read: Callable[[str], str]) -> tuple[imagefolder.Listing, imagefolder.Listing]:
    """Listings of tiny-imagenet from all its paths (below tiny-imagenet-200/, with slashes); `read` gives a file's text.

    Validation images lie in val/images/ with their classes in val_annotations.txt, or, rearranged, below val/<class>/; a
    rearrangement that was interrupted has both.
    """
    train, test = [], []
    annotated = {}
    if "val/val_annotations.txt" in paths:
        annotated = dict(line.split("\t")[:2] for line in read("val/val_annotations.txt").splitlines() if "\t" in line)
    for path in paths:
        parts = path.split("/")
        if len(parts) < 3 or not path.lower().endswith(imagefolder.SUFFIXES):
            continue
        name = annotated.get(parts[-1]) if parts[:2] == ["val", "images"] else parts[1]
        if name and parts[0] in ("train", "val"):
            (train if parts[0] == "train" else test).append((path, name))
    # by file name, not path, so that both layouts have one order
    return tuple(sorted(part, key=lambda entry: (entry[1], entry[0].rsplit("/", 1)[1])) for part in (train, test))


def read_tiny(place: Place) -> Contents:
    """tiny-imagenet, from its zip if there is one (no need to unpack it), else from the folder tiny-imagenet-200."""
    archive, root = place.data_dir / TINY_ZIP, place.data_dir / "tiny-imagenet-200"
    if not archive.is_file():
        names = [Path(at, file).relative_to(root).as_posix() for at, _, found in os.walk(root) for file in found]
        train, test = tiny_listings(names, lambda name: (root / name).read_text())
        if (len(train), len(test)) == TINY_SIZES:
            return _read_listings(train, test, lambda found: imagefolder.Files([str(root / path) for path in found]))
        if not place.download and root.is_dir():
            why = f"{root} is incomplete ({len(train)} of 100000 and {len(test)} of 10000 images), --no-download was given"
            raise missing("tiny-imagenet", [TINY_ZIP], [place.data_dir], why)
        place.obtain("tiny-imagenet", place.data_dir, {TINY_ZIP: (TINY_MD5,)}, (TINY_URL,), [place.data_dir])
    check_md5(archive, TINY_MD5)
    return read_tiny_zip(archive)


def read_tiny_zip(archive: Path) -> Contents:
    """All of tiny-imagenet's zip, decoded."""
    prefix = "tiny-imagenet-200/"
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name.removeprefix(prefix) for name in opened.namelist() if name.startswith(prefix)]
            train, test = tiny_listings(names, lambda name: opened.read(prefix + name).decode())
    except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise Refused(f"cannot read {archive} ({error})") from error
    return _read_listings(train, test, lambda found: imagefolder.ZipMembers(archive, [prefix + path for path in found]))


def _read_listings(
    train: imagefolder.Listing, test: imagefolder.Listing, source: Callable[[list[str]], ImageSource]
) -> Contents:
    _, train_labels, test_labels = imagefolder.number(train, test, "tiny-imagenet")
    images = [imagefolder.read_small(source([path for path, _ in part]), (64, 64), "tiny-imagenet") for part in (train, test)]
    return Contents(images[0], train_labels, images[1], test_labels)


def read_imagenet(place: Place, image_size: int) -> Contents:
    """imagenet, from imagenet_raw/{train,val} or imagenet/{train,val}; never fetched."""
    looked = [place.data_dir / name for name in ("imagenet_raw", "imagenet")]
    root = next((root for root in looked if (root / "train").is_dir() and (root / "val").is_dir()), None)
    if root is None:
        raise missing("imagenet", ["train/<class>/ and val/<class>/"], looked, "is never downloaded")
    train, test = imagefolder.list_tree(root / "train"), imagefolder.list_tree(root / "val")
    _, train_labels, test_labels = imagefolder.number(train, test, "imagenet")
    _, images, tests = imagefolder.read_pair(imagefolder.files(train), imagefolder.files(test), image_size, "imagenet")
    return Contents(images, train_labels, tests, test_labels)
