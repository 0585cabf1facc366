"""Whether the files of a finished run are what the run wrote, by the checksums in its `summary.json`."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Utils.errors import Refused, RunFailed
from Utils.files import read_json, sha256
from Utils.locks import Lock


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


def tidy(folder: Path, *names: str) -> None:
    """Remove what a process that was killed at the very end of its run left beside the finished run: `names` and its lock."""
    lock = Lock(folder / ".lock")
    if not any(path.exists() for path in (lock.path, *(folder / name for name in names))):
        return
    with contextlib.suppress(OSError, RunFailed):  # on a disk that cannot be written they stay
        if lock.take(0):
            for name in names:
                (folder / name).unlink(missing_ok=True)
            lock.leave()
