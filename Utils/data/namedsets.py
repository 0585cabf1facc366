"""Reading MNIST's and Fashion-MNIST's idx files and CIFAR's archives, and making synthetic sets.

Every reader returns `Contents`. Files that are there are checked; files that are not are fetched if that is allowed.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from Utils.base import seeds
from Utils.base.errors import Refused
from Utils.base.network import PATIENCE
from Utils.data.download import folder_lock, md5_of, obtain


class Contents(NamedTuple):
    """A training and a test set: images as uint8 [N, C, H, W] or as an `ImageSource`, labels int64 [N], on the CPU."""

    train: Any
    train_labels: Tensor
    test: Any
    test_labels: Tensor


@dataclass(frozen=True)
class Place:
    """Where a set's files are looked for, and whether and whence they may be fetched."""

    data_dir: Path
    download: bool = True
    mirror: str | None = None
    patience: float = PATIENCE

    def obtain(
        self, title: str, folder: Path, files: Mapping[str, Sequence[str]], bases: Sequence[str], looked: Sequence[Path]
    ) -> None:
        """`Utils.data.download.obtain` as this place allows it."""
        options = {"download": self.download, "mirror": self.mirror, "patience": self.patience}
        obtain(title, folder, files, bases, looked=looked, **options)


PROJECT_DATA = Path(__file__).resolve().parents[2] / "Data"
IDX_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
# MD5 checksums of MNIST's four files unpacked: archives differ in how they were compressed, the contents do not.
MNIST_CONTENTS = (
    "6bbc9ace898e44ae57da46a324031adb",
    "a25bea736e30d166cdddb491f175f624",
    "2646ac647ad5339dbf082846283269ea",
    "27ae3e4e09519cfbb04c329615203637",
)
# Accepted MD5 checksums of the .gz files; MNIST's are the original ones and those of the files in this project.
IDX_ARCHIVES = {
    "mnist": (
        ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "c7dfcf1bfd3481a40f7b3aedbdbd083c"),
        ("d53e105ee54ea40749a09fcbcd1e9432", "d289298a347a2cc65765a3c81043ba88"),
        ("9fb629c4189551a2d022fa330f9573f3", "ecff87aa27c74fbc2c1f97e89c19221d"),
        ("ec29112dd5afa0611ce80d1b7f02629c", "a38049bc042dc6e683842a84160daae1"),
    ),
    "fashion-mnist": (
        ("8d4fb7e6c68d591d4c3dfef9ec88bf0d",),
        ("25c81989df183df01b3e8a0aad5dffbe",),
        ("bef4ecab320f06d8554ea6380940ec79",),
        ("bb300cfdad3c16e7a12a480ee83cd310",),
    ),
}
IDX_FOLDER = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}
IDX_URLS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist",),
    "fashion-mnist": ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",),
}
CIFAR = {
    "cifar10": ("CIFAR10", "cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    "cifar100": ("CIFAR100", "cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),
}
CIFAR_URL = "https://www.cs.toronto.edu/~kriz"


def read_idx(path: Path) -> tuple[np.ndarray, str]:
    """The uint8 array in an idx file (gzipped if its name ends in .gz) and the MD5 checksum of the unpacked bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(f"{path} is corrupt: {error}") from error
    rank = content[3] if len(content) >= 4 else 0
    if content[:3] != b"\0\0\x08" or rank not in (1, 3):
        raise Refused(f"{path} is corrupt: it does not begin like an idx file of unsigned bytes")
    shape = np.frombuffer(content[4 : 4 + 4 * rank].ljust(4 * rank, b"\0"), ">u4").astype(np.int64)
    if len(content) != 4 + 4 * rank + shape.prod():
        raise Refused(f"{path} is corrupt: {len(content)} bytes do not make an array of {'x'.join(map(str, shape))}")
    array = np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    return array.copy(), hashlib.md5(content, usedforsecurity=False).hexdigest()


def read_idx_set(name: str, place: Place) -> Contents:
    """mnist or fashion-mnist, from .gz or plain idx files; nothing is written if all four are there."""
    folder = place.data_dir / IDX_FOLDER[name]
    looked = [folder, place.data_dir, *([PROJECT_DATA / IDX_FOLDER[name]] if name == "mnist" else [])]

    def find() -> list[Path | None]:
        return [
            next((path for at in looked for path in (at / f"{file}.gz", at / file) if path.is_file()), None) for file in IDX_FILES
        ]

    archives = {f"{file}.gz": md5 for file, md5 in zip(IDX_FILES, IDX_ARCHIVES[name], strict=True)}
    paths = find()
    if None in paths:
        lacking = {file: archives[file] for file, path in zip(archives, paths, strict=True) if path is None}
        place.obtain(name, folder, lacking, IDX_URLS[name], looked)
        paths = find()
    arrays = []
    for path, content_md5, md5 in zip(paths, MNIST_CONTENTS, IDX_ARCHIVES[name], strict=True):
        array, found = read_idx(path)
        right = found == content_md5 if name == "mnist" else found not in MNIST_CONTENTS
        if not right or (name != "mnist" and path.suffix == ".gz" and md5_of(path) not in md5):
            raise Refused(f"{path} is corrupt or of another set: its checksum is not that of {name}")
        arrays.append(torch.from_numpy(array))
    train, train_labels, test, test_labels = arrays
    return Contents(train[:, None], train_labels.long(), test[:, None], test_labels.long())


def read_cifar(name: str, place: Place) -> Contents:
    """cifar10 or cifar100, from torchvision's unpacked folder, else from the archive, which is unpacked beside it."""
    from torchvision import datasets

    set_class, (_, file, md5) = getattr(datasets, CIFAR[name][0]), CIFAR[name]
    archive = place.data_dir / file

    def read() -> Contents | None:
        try:
            parts = [set_class(str(place.data_dir), train=train) for train in (True, False)]
        except RuntimeError:  # not there, or not what the checksums say
            return None
        images = [torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in parts]
        labels = [torch.tensor(part.targets, dtype=torch.int64) for part in parts]
        return Contents(images[0], labels[0], images[1], labels[1])

    contents = read()
    if contents is not None:
        return contents
    if not archive.is_file():
        place.obtain(name, place.data_dir, {file: (md5,)}, (CIFAR_URL,), [place.data_dir])
    with folder_lock(place.data_dir):
        contents = read()  # another process may have unpacked it meanwhile
        if contents is None:
            check_md5(archive, md5)
            try:
                with tarfile.open(archive) as opened:
                    opened.extractall(place.data_dir, filter="data")
            except (OSError, tarfile.TarError, EOFError, zlib.error) as error:
                raise Refused(f"cannot unpack {archive} ({error})") from error
            contents = read()
    if contents is None:
        raise Refused(f"{place.data_dir / set_class.base_folder} does not have the files of {name}")
    return contents


def check_md5(path: Path, md5: str) -> None:
    """Raise `Refused` naming `path` if it has another checksum."""
    found = md5_of(path)
    if found != md5:
        raise Refused(f"{path} is corrupt or incomplete: its md5 checksum is {found}, not {md5}; replace or delete it")


def make_synthetic(spec: str, shape: tuple[int, int, int], classes: int, count: int) -> Contents:
    """A learnable set that only its name decides: a smooth random prototype per class, in grey levels, plus noise.

    `count` training images and a fifth as many for testing (at least 1), uint8 [N, *`shape`]; labels are balanced.
    """
    stream = seeds.generator(0, "synthetic", spec)
    channels, height, width = shape
    coarse = torch.randn((classes, channels, min(4, height), min(4, width)), generator=stream)
    prototypes = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)

    def draw(number: int) -> tuple[Tensor, Tensor]:
        labels = (torch.arange(number) % classes)[torch.randperm(number, generator=stream)]
        images = torch.empty((number, *shape), dtype=torch.uint8)
        for some, label in zip(images.split(256), labels.split(256), strict=True):
            noise = torch.randn(some.shape, generator=stream)
            some.copy_((128 + 50 * prototypes[label] + 40 * noise).clamp_(0, 255))
        return images, labels

    return Contents(*draw(count), *draw(max(1, count // 5)))
