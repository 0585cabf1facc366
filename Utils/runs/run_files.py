"""The files of a run: their checksums, the lock of their folder, the leftovers of killed processes."""

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
    """Find the first of the `files` of a summary that is missing in `folder` or has another checksum.

    The result is None if all are whole. The checksum is compared only for files smaller than `below` bytes.
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
    """Refuse a file of a run if the `summary.json` beside it has another checksum; without a checksum it is accepted.

    Raises:
        Refused: the file has changed since the run wrote it, or the summary itself cannot be read.
    """
    summary = file.with_name("summary.json")
    if not summary.exists() or not file.exists() or not file.with_name("args.json").exists():
        return
    files = read_json(summary).get("files", {})
    if isinstance(files, Mapping) and file.name in files and damaged(file.parent, {"files": {file.name: files[file.name]}}):
        raise Refused(f"{file} is damaged: it is not what the run wrote, by the checksum in {summary.name}")


def tidy(folder: Path) -> None:
    """Remove the leftovers of a process that was killed at the very end of a finished run.

    They are the checkpoint, the lock and half-written files.
    """
    lock = Lock(folder / ".lock")
    if not (lock.path.exists() or (folder / CHECKPOINT).exists() or any(folder.glob(".*.half"))):
        return
    with contextlib.suppress(OSError, RunFailed, Refused):  # they stay on a read-only disk; other programs' files always stay
        if lock.take(0):
            try:
                own = OwnFiles(folder)
                own.remove([CHECKPOINT])
                own.sweep()
            finally:
                lock.leave()


@contextmanager
def alone_in(folder: Path, seconds: float | None = None) -> Iterator[OwnFiles]:
    """Hold the lock of a folder while its files are written, after removing half-written files of killed processes.

    It waits for another process that writes there for up to `seconds` (-1: without limit; by default `PATIENCE`).

    Raises:
        Refused: the file with the name of the lock, or of the manifest, is not this program's.
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
