"""The files of a run: which there are, whether they are what the run wrote, and what killed processes left of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Utils import events
from Utils.errors import Refused, RunFailed
from Utils.files import read_json, sha256
from Utils.locks import Lock
from Utils.own_network import COPY

CHECKPOINT = "checkpoint.bin"
# What runs write: these may be replaced when a run starts afresh; anything else in the folder is left alone.
OWN = (
    "args.json", "pre-train.csv", "post-train.csv", "levels.csv", "compression.csv", "compression-level-*.csv",
    "*-conservation.csv", "*-conservation.png", "*-conservation.pdf", "schedule-rounds.csv", "trace.json", "trace.csv",
    "trace_summary.json", "timeline.*", "time.json", "histogram*.csv", "histogram*.png", "histogram*.pdf", "histogram.json",
    "initial.pt", "dense.pt", "model.pt", "regrow*.csv", "regrow*.json", "regrow*.png", "regrow*.pdf", "regrow_masks.pt",
    "updates.csv", "saliency*.csv", "saliency.json", "saliency*.png", "saliency*.pdf",
    "model-compact.pt", "compact.*", "report.md", "report.html", "figures/*", "tables/*", "optimizer.pt", "scheduler.pt",
    "masks-level-*.pt", f"{events.FOLDER}/{events.FILES}", CHECKPOINT, COPY, "summary.json",
)  # fmt: skip
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


def half_written(folder: Path) -> Iterator[Path]:
    """What killed processes left of the files of a run on their way; a living one's too, so hold the lock."""
    for name in OWN:
        place, slash, last = name.rpartition("/")
        yield from regular(folder, f"{place}{slash}.{last}.*[0-9]")


def regular(folder: Path, pattern: str) -> Iterator[Path]:
    """The regular files in `folder` that `pattern` means (a name, or FOLDER/NAME), nothing that a link leads to."""
    place, _, last = pattern.rpartition("/")
    if not (folder / place).is_symlink() or not place:
        yield from (file for file in (folder / place).glob(last) if file.is_file() and not file.is_symlink())


def check_no_links(folder: Path) -> None:
    """Refuse links where a run, or a report, puts files: what they lead to is somebody's own.

    Raises:
        Refused: the first of them.
    """
    places = {folder / name.rpartition("/")[0] for name in OWN if "/" in name}
    for path in sorted(places | {file for name in OWN if "/" not in name for file in folder.glob(name)}):
        if path.is_symlink():
            raise Refused(f"{path} is a link: nothing is written or removed through it; take it away, or choose another --expid")


def tidy(folder: Path) -> None:
    """Remove what a process that was killed at the end of its work left beside a finished run: checkpoint, lock, half a file."""
    lock = Lock(folder / ".lock")
    if not (lock.path.exists() or (folder / CHECKPOINT).exists() or any(folder.glob(".*[0-9]"))):
        return
    with contextlib.suppress(OSError, RunFailed):  # on a disk that cannot be written they stay
        if lock.take(0):
            for file in (folder / CHECKPOINT, *half_written(folder)):
                file.unlink(missing_ok=True)
            lock.leave()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the lock of a saved run while a later experiment writes there; what killed processes left half written goes first.

    Raises:
        RunFailed: another process is working there, or the folder cannot be written.
    """
    lock = Lock(folder / ".lock")
    if not lock.take(PATIENCE):
        raise RunFailed(f"{folder}: another process is working there")
    try:
        for file in half_written(folder):
            file.unlink(missing_ok=True)
        yield
    finally:
        lock.leave()
