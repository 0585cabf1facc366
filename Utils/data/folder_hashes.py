"""Hashes of the content of image folders: a folder whose content changes becomes another dataset.

The checksum covers the names of all images below the folder, and their bytes. Names, sizes and times of the files only decide
whether it is computed again: the result is kept in RESULT_DIR/image-folders/, in one file for each folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from Utils.base.errors import Refused, RunFailed
from Utils.base.files import writable
from Utils.base.json_files import read_json, write_json
from Utils.data.catalogue import folder_of

KEPT = "image-folders"
SETTLED = 2 * 10**9  # nanoseconds: a younger file may change again without a change of its time


@dataclass(frozen=True)
class _Found:
    looks: str
    digest: str
    settled: bool


_found: dict[Path, _Found] = {}


def forget() -> None:
    """Forget all folders examined so far: a new command begins."""
    _found.clear()


def digest_of(dataset: str, result_dir: str | None = None) -> str | None:
    """Return the SHA-256 of the content of the folder in `folder:PATH`, in hexadecimal; computed once per command.

    It is None for other datasets, and for a folder that does not exist or is no dataset. An earlier command may have kept the
    result in `result_dir`.
    """
    root = folder_of(dataset)
    if root is None:
        return None
    if root not in _found:
        try:
            files = _listed(root)
            looks, settled = _looks(files)
            _found[root] = _kept(root, looks, result_dir) or _compute(files, looks, settled, dataset)
        except (Refused, OSError):
            return None
    return _found[root].digest


def keep(dataset: str, result_dir: str) -> None:
    """Save the result of `digest_of` for later commands; if that fails, they compute it again."""
    root = folder_of(dataset)
    found = _found.get(root) if root else None
    if found and found.settled and _kept(root, found.looks, result_dir) is None:
        content = {"folder": writable(root), "looks": found.looks, "digest": found.digest}
        with contextlib.suppress(RunFailed):
            write_json(_place(root, result_dir), content)


def _listed(root: Path) -> list[tuple[str, str]]:
    """List each image as (name below `root`, path), in the order of the names."""
    from Utils.data.image_folder import find_trees

    train, test = find_trees(root)
    return sorted((os.path.relpath(path, root), path) for path, _ in (*train, *test))


def _looks(files: list[tuple[str, str]]) -> tuple[str, bool]:
    """Return a hash of names, sizes, times and inodes, and whether the youngest file is old enough to rely on it."""
    digest, youngest = hashlib.blake2b(digest_size=16), 0
    for name, path in files:
        at = os.stat(path)
        digest.update(os.fsencode(name) + f"\0{at.st_size} {at.st_mtime_ns} {at.st_ctime_ns} {at.st_ino}\0".encode())
        youngest = max(youngest, at.st_mtime_ns, at.st_ctime_ns)
    return digest.hexdigest(), youngest < time.time_ns() - SETTLED


def _place(root: Path, result_dir: str) -> Path:
    return Path(result_dir, KEPT, f"{hashlib.blake2b(os.fsencode(root), digest_size=16).hexdigest()}.json")


def _kept(root: Path, looks: str, result_dir: str | None) -> _Found | None:
    """Return the result of an earlier command if the files look the same as then."""
    if result_dir is None or not (place := _place(root, result_dir)).is_file():
        return None
    with contextlib.suppress(Refused):
        kept = read_json(place)
        if kept.get("looks") == looks and isinstance(kept.get("digest"), str):
            return _Found(looks, kept["digest"], True)
    return None


def _compute(files: list[tuple[str, str]], looks: str, settled: bool, title: str) -> _Found:
    from tqdm import tqdm

    from Utils.data.image_files import in_threads

    digest = hashlib.sha256()
    with tqdm(total=len(files), desc=f"checking {title}", unit=" images", disable=None, leave=False) as bar:
        for start, sums in in_threads(lambda index: _sum_of(files[index][1]), len(files)):
            for (name, _), one in zip(files[start : start + len(sums)], sums, strict=True):
                digest.update(os.fsencode(name) + b"\0" + one)
            bar.update(len(sums))
    return _Found(looks, digest.hexdigest(), settled)


def _sum_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
