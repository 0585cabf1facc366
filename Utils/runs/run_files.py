"""The files of a run: whether they are what the run wrote, whose turn it is to write there, what killed processes left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused, RunFailed
from Utils.base.files import sha256
from Utils.base.json_files import read_json
from Utils.base.locks import Lock
from Utils.runs.manifest import CHECKPOINT, OwnFiles

PATIENCE = 60  # seconds to wait for another experiment that writes into the same folder


def damaged(folder: Path, content: Mapping[str, Any], below: float = float("inf")) -> Path | None:
    """The first of the `files` of a summary that is missing in `folder` or is not what its checksum says; None if all are whole.

    Files of `below` bytes and more are only looked for.
    """
    files = content.get("files", {})
    if not isinstance(files, Mapping):
        return folder / "summary.json"
    for name, digest in files.items():
        file = folder / name
        try:
            if not file.is_file() or (file.stat().st_size < below and sha256(file) != digest):
                return file
        except OSError:
            return file
    return None


def check_file(file: Path) -> None:
    """Refuse a file of a run where the `summary.json` beside it has another checksum for it; without one it is taken as it is.

    Raises:
        Refused: it is not what the run wrote, or the summary itself cannot be read.
    """
    summary = file.with_name("summary.json")
    if not summary.exists() or not file.exists() or not file.with_name("args.json").exists():
        return
    files = read_json(summary).get("files", {})
    if isinstance(files, Mapping) and file.name in files and damaged(file.parent, {"files": {file.name: files[file.name]}}):
        raise Refused(f"{file} is damaged: it is not what the run wrote, by the checksum in {summary.name}")


def tidy(folder: Path) -> None:
    """Remove what a process that was killed at the end of its work left beside a finished run: checkpoint, lock, half a file."""
    lock = Lock(folder / ".lock")
    if not (lock.path.exists() or (folder / CHECKPOINT).exists() or any(folder.glob(".*.half"))):
        return
    with contextlib.suppress(OSError, RunFailed, Refused):  # on a disk that cannot be written they stay, and so do others' files
        if lock.take(0):
            try:
                own = OwnFiles(folder)
                own.remove([CHECKPOINT])
                own.sweep()
            finally:
                lock.leave()


@contextmanager
def alone_in(folder: Path, seconds: float | None = None) -> Iterator[OwnFiles]:
    """Hold the lock of a folder while its files are written; what killed processes left half written goes first.

    Waits for up to `seconds` (-1: for as long as it takes; by default `PATIENCE`) for another process that writes there.

    Raises:
        Refused: what has the name of the lock, or of the manifest, is not this program's.
        RunFailed: another process is working there, or the folder cannot be written.
    """
    lock = Lock(folder / ".lock")
    if not lock.take(PATIENCE if seconds is None else seconds):
        raise RunFailed(f"{folder}: another process is working there")
    try:
        own = OwnFiles(folder)
        own.sweep()
        yield own
    finally:
        lock.leave()
