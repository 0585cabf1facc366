"""The files of a run: their checksums, the lock of their folder, the leftovers of killed processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from Utils.base.errors import Refused, RunFailed
from Utils.base.locks import Lock
from Utils.runs.manifest import CHECKPOINT, OwnFiles

PATIENCE = 60  # seconds to wait for another experiment that writes into the same folder


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
