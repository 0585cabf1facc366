"""The reader of mnist and fashion-mnist, from their idx files."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from Utils.base.errors import Refused
from Utils.data.download import md5_of
from Utils.data.reading import Contents, Place

PROJECT_DATA = Path(__file__).resolve().parents[2] / "Data"
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


@dataclass(frozen=True)
class Source:
    """The place and origin of the four files of a set, and their MD5 checksums in the order of `FILES`.

    Attributes:
        folder: their folder below the data folder.
        url: the URL of the folder that they are fetched from.
        archives: the accepted checksums of each .gz file.
        unpacked: the checksums of the files inside. A set needs them if several archives are in use that differ only in their
            compression.
        with_project: whether the project contains the files.
    """

    folder: str
    url: str
    archives: tuple[tuple[str, ...], ...]
    unpacked: tuple[str, ...] = ()
    with_project: bool = False


SOURCES = {
    "mnist": Source(
        "MNIST/raw",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        (  # the original archives, and those in this project
            ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "c7dfcf1bfd3481a40f7b3aedbdbd083c"),
            ("d53e105ee54ea40749a09fcbcd1e9432", "d289298a347a2cc65765a3c81043ba88"),
            ("9fb629c4189551a2d022fa330f9573f3", "ecff87aa27c74fbc2c1f97e89c19221d"),
            ("ec29112dd5afa0611ce80d1b7f02629c", "a38049bc042dc6e683842a84160daae1"),
        ),
        unpacked=(
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        with_project=True,
    ),
    "fashion-mnist": Source(
        "FashionMNIST/raw",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        (
            ("8d4fb7e6c68d591d4c3dfef9ec88bf0d",),
            ("25c81989df183df01b3e8a0aad5dffbe",),
            ("bef4ecab320f06d8554ea6380940ec79",),
            ("bb300cfdad3c16e7a12a480ee83cd310",),
        ),
    ),
}


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Read mnist or fashion-mnist from .gz or plain idx files; if all four exist, no file is written.

    Raises:
        Refused: files are missing and cannot be fetched, are corrupt, or belong to the other set.
    """
    source = SOURCES[name]
    folder = place.data_dir / source.folder
    looked = [folder, place.data_dir, *([PROJECT_DATA / source.folder] if source.with_project else [])]
    paths = _find(looked)
    if None in paths:
        archives = {f"{file}.gz": md5 for file, md5 in zip(FILES, source.archives, strict=True)}
        lacking = {file: archives[file] for file, path in zip(archives, paths, strict=True) if path is None}
        place.obtain(name, folder, lacking, (source.url,), looked)
        paths = _find(looked)
    arrays = []
    for number, path in enumerate(paths):
        array, md5 = read_idx(path)
        if not _belongs(path, md5, number, source):
            raise Refused(f"{path} is corrupt or of another set: its checksum is not that of {name}")
        arrays.append(torch.from_numpy(array))
    train, train_labels, test, test_labels = arrays
    return Contents(train[:, None], train_labels.long(), test[:, None], test_labels.long())


def _find(looked: Sequence[Path]) -> list[Path | None]:
    """Find each of the `FILES` in the folders `looked` at, packed or plain; the first one found counts."""
    places = [[path for at in looked for path in (at / f"{file}.gz", at / file)] for file in FILES]
    return [next((path for path in paths if path.is_file()), None) for paths in places]


def _belongs(path: Path, md5: str, number: int, source: Source) -> bool:
    """Tell whether `path`, whose unpacked content has the checksum `md5`, is file `number` of the set `source`.

    A set without checksums for plain files accepts every plain file, except those of another set.
    """
    if source.unpacked:
        return md5 == source.unpacked[number]
    if any(md5 in other.unpacked for other in SOURCES.values()):
        return False
    return path.suffix != ".gz" or md5_of(path) in source.archives[number]


def read_idx(path: Path) -> tuple[np.ndarray, str]:
    """Read the uint8 array in an idx file (gzipped if its name ends in .gz), and the MD5 checksum of the unpacked bytes.

    Raises:
        Refused: the file cannot be read, or is not an idx file of unsigned bytes.
    """
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
