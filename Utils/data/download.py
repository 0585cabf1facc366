"""Downloads of files, checksummed and locked."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from Utils.base.errors import Refused
from Utils.base.network import PATIENCE, PatientOpener
from Utils.base.text import one_line

if TYPE_CHECKING:
    from filelock import BaseFileLock

_CHUNK = 1 << 18


def folder_lock(folder: str | os.PathLike[str]) -> BaseFileLock:
    """Return the lock of all who fetch or unpack into `folder`, which is made if necessary; reentrant within a process.

    The system releases the lock when its holder dies.

    Raises:
        Refused: the folder cannot be written.
    """
    from filelock import FileLock

    from Utils.base.locks import check_lock

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        check_lock(Path(folder).resolve() / ".lock")
        lock = FileLock(Path(folder).resolve() / ".lock", is_singleton=True)
        with lock:  # taken now, so that the error on an unwritable folder names it
            pass
    except OSError as error:
        reason = error.strerror or error
        raise Refused(f"cannot write to {Path(folder).absolute()} ({reason}); choose another --data-dir") from error
    return lock


def md5_of(path: str | os.PathLike[str]) -> str:
    """Return the MD5 checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def check_md5(path: Path, md5: str) -> None:
    """Refuse a file with another checksum.

    Raises:
        Refused: the checksum differs; the message names `path`.
    """
    found = md5_of(path)
    if found != md5:
        raise Refused(f"{path} is corrupt or incomplete: its md5 checksum is {found}, not {md5}; replace or delete it")


def fetch(
    url: str,
    path: str | os.PathLike[str],
    md5: str | Sequence[str],
    *,
    patience: float = PATIENCE,
    opener: PatientOpener | None = None,
) -> None:
    """Download `url` to `path`, unless a file with the MD5 checksum `md5` (or one of several) is there already.

    The bytes go to `path` + `.part`, which is renamed once the checksum is right, so that `path` is always complete. Processes
    that want a file of the same folder wait for each other.

    Raises:
        Refused: no answer within `patience` seconds, an HTTP error, another checksum, or a full disk; the message names the URL.
    """
    path, right = Path(path), {md5} if isinstance(md5, str) else set(md5)
    opener = opener or PatientOpener(patience)
    try:
        if not path.is_file():
            opener.open(_request(url)).close()  # first of all: with a dead network no folder is made
        with folder_lock(path.parent):
            if path.is_file() and md5_of(path) in right:
                return
            part = path.with_name(path.name + ".part")
            try:
                found = _stream(url, part, opener)
                if found not in right:
                    raise Refused(f"{url} has the md5 checksum {found}, not {' or '.join(sorted(right))}")
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
    except Refused:
        raise
    except urllib.error.HTTPError as error:
        raise Refused(f"{url}: HTTP error {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Refused(f"{url}: {_one_line(getattr(error, 'reason', None) or error)}") from error


def _request(url: str) -> urllib.request.Request:
    return urllib.request.Request(url, headers={"User-Agent": "python-urllib"})


def _stream(url: str, part: Path, opener: PatientOpener) -> str:
    """Write the content of `url` to `part` and return its MD5 checksum."""
    from tqdm import tqdm

    digest = hashlib.md5(usedforsecurity=False)
    with opener.open(_request(url)) as response, open(part, "wb") as file:
        size = response.headers.get("Content-Length")
        total = int(size) if size else None
        with tqdm(total=total, desc=part.stem, unit="B", unit_scale=True, disable=None, leave=False) as bar:
            while block := response.read(_CHUNK):
                digest.update(block)
                file.write(block)
                bar.update(len(block))
    return digest.hexdigest()


def _one_line(error: object) -> str:
    return one_line(str(error)) or type(error).__name__


def missing(title: str, files: Sequence[str], looked: Sequence[Path], why: str) -> Refused:
    """Return the error for missing data: its name, the places searched, the files that belong there."""
    places = ", ".join(str(place.absolute()) for place in looked)
    return Refused(
        f"{title} was not found in {places} and {why}; put {', '.join(files)} there, or name another folder with --data-dir"
    )


def obtain(
    title: str,
    folder: Path,
    files: Mapping[str, Sequence[str]],
    bases: Sequence[str],
    *,
    looked: Sequence[Path],
    download: bool,
    mirror: str | None = None,
    patience: float = PATIENCE,
) -> None:
    """Fetch into `folder` those of `files` (name: accepted MD5 checksums) that are missing.

    `bases` are the URLs of folders that have them, tried in turn; a `mirror` replaces all of them.

    Raises:
        Refused: a download is forbidden (`download` false) or fails; the message is `missing`'s and names the places `looked` at.
    """
    if not download:
        raise missing(title, list(files), looked, "--no-download was given")
    opener = PatientOpener(patience)
    for file, md5 in files.items():
        reasons = []
        for base in [mirror] if mirror else bases:
            try:
                fetch(f"{base.rstrip('/')}/{file}", folder / file, md5, opener=opener)
                break
            except Refused as error:
                reasons.append(str(error))
        else:
            raise missing(title, list(files), looked, f"could not be downloaded ({'; '.join(reasons)})")
