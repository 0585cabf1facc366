"""The reader of cifar10 and cifar100, from torchvision's unpacked folders or from the archives of their authors."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

import torch
from torchvision import datasets

from Utils.base.errors import Refused
from Utils.data.download import check_md5, folder_lock
from Utils.data.reading import Contents, Place

URL = "https://www.cs.toronto.edu/~kriz"
# Name -> torchvision's class, the archive, its MD5 checksum.
ARCHIVES = {
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
}


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Read cifar10 or cifar100 from the unpacked folder, or from the archive, which is then unpacked beside it.

    Raises:
        Refused: the files are missing and cannot be fetched, or the archive is corrupt.
    """
    class_name, file, md5 = ARCHIVES[name]
    set_class, archive = getattr(datasets, class_name), place.data_dir / file
    contents = _read_unpacked(set_class, place.data_dir)
    if contents is not None:
        return contents
    if not archive.is_file():
        place.obtain(name, place.data_dir, {file: (md5,)}, (URL,), [place.data_dir])
    with folder_lock(place.data_dir):
        contents = _read_unpacked(set_class, place.data_dir)  # another process may have unpacked it meanwhile
        if contents is None:
            check_md5(archive, md5)
            _unpack(archive)
            contents = _read_unpacked(set_class, place.data_dir)
    if contents is None:
        raise Refused(f"{place.data_dir / set_class.base_folder} does not have the files of {name}")
    return contents


def _read_unpacked(set_class: type[datasets.CIFAR10], data_dir: Path) -> Contents | None:
    """Read both parts of torchvision's `set_class`; None if files are missing or have other checksums."""
    try:
        parts = [set_class(str(data_dir), train=train) for train in (True, False)]
    except RuntimeError:
        return None
    images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts]
    labels = [torch.tensor(part.targets, dtype=torch.int64) for part in parts]
    return Contents(images[0], labels[0], images[1], labels[1])


def _unpack(archive: Path) -> None:
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(archive.parent, filter="data")
    except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise Refused(f"cannot unpack {archive} ({error})") from error
