"""The checksums that the summary of a run has of the run's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.files import sha256
from Utils.base.json_files import read_json


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
