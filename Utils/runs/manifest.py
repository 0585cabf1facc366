"""The manifest of the files that this program wrote into a folder.

Each file is listed before it is written. The program removes and replaces only listed files.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused, RunFailed
from Utils.base.files import atomic, leftovers, linked, sha256
from Utils.base.inputs import read_input
from Utils.base.json_files import read_json, write_json
from Utils.base.own_network import COPY
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.runs.writer import Writer

NAME = "manifest.json"
CHECKPOINT, LOG = "checkpoint.bin", "log.txt"
RUN = ("args.json", "summary.json", CHECKPOINT)  # of every run
GRID = ("args.json", "grid.csv", "grid.csv.sha256", "ablation.csv")  # of every grid, besides its cells
MOST = 10_000  # the most levels to look for
FOLDERS = ("figures", "tables", "tensorboard")
# In a folder without a manifest, these files list others that were written with them.
LISTS = ("summary.json", "histogram.json", "saliency.json", "compact.json")
EVENTS = re.compile(r"events\.out\.tfevents\.\d{10}\..+\.\d+\.\d+")  # TensorBoard's names: second, machine, process, number
LARGEST = 1 << 26  # bytes of a report.md
LINKED = re.compile(r"\]\(((?:figures|tables)/[^()\s]+)\)")  # in a report.md


def names_of(options: Mapping[str, Any]) -> set[str]:
    """Name the files that a run, or a grid, with these options may write, except the figures and tables of a report."""
    if "cells" in options:
        return set(GRID)
    experiment = EXPERIMENTS[options.get("experiment", DEFAULT)]
    names, levels = {*RUN, *experiment.writes}, options.get("level")
    if isinstance(levels, int):
        names |= {name.format(level) for name in experiment.by_level for level in range(1, min(levels, MOST) + 1)}
    names |= {COPY} if options.get("model_class") == "user" else set()
    return names | ({LOG} if "/" in str(options.get("expid")) else set())  # the log of a cell, whose name is GRID/CELL


class OwnFiles(Writer):
    """The files of this program in one folder. A caller that adds or removes some holds the folder's lock.

    In a folder from before manifests existed, they are the existing files with the names that its run writes.

    Attributes:
        folder: the folder, which need not exist yet.
        names: the names of the files; those in a subfolder are FOLDER/NAME.

    Raises:
        Refused: the file with the manifest's name is not a manifest of this program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed = _listed_in(folder / NAME)  # None if there is no manifest
        self.names = set(_of_before(folder)) if self._listed is None else set(self._listed)

    def check(self, names: Iterable[str], folders: Iterable[str] = ()) -> None:
        """Refuse foreign files with these `names`, and foreign entries in place of the subfolders `folders`.

        Raises:
            Refused: a link (the folder itself may be one), a folder in place of a file, or a file that this program did not
                write.
        """
        names = sorted(names)
        if self.folder.is_symlink():
            raise _in_the_way(self.folder)
        for place in sorted({name.partition("/")[0] for name in names if "/" in name} | set(folders)):
            path = self.folder / place
            if os.path.lexists(path) and (path.is_symlink() or not path.is_dir()):
                raise _in_the_way(path)
        for name in names:
            path = self.folder / name
            if os.path.lexists(path) and (name not in self.names or path.is_symlink() or not path.is_file()):
                raise _in_the_way(path)

    def add(self, names: Collection[str]) -> None:
        """List files that are about to be written.

        Raises:
            Refused: one of them must not be replaced (see `check`).
            RunFailed: the manifest cannot be written.
        """
        self.check(names)
        self.record(names)

    def record(self, names: Collection[str]) -> None:
        """List files that the program has just made, or is about to make, without a check.

        Raises:
            RunFailed: the manifest cannot be written.
        """
        self.names |= set(names)
        if self._listed is None or not set(names) <= self._listed:
            self._write()

    def _write(self) -> None:
        write_json(self.folder / NAME, {"files": sorted(self.names)})
        self._listed = set(self.names)

    def remove(self, names: Iterable[str] | None = None) -> None:
        """Remove those of `names` that are the program's own, and forget them; by default all except the log.

        The log stays because it records every attempt. If one of the files is a link or a folder, all files stay.

        Raises:
            Refused: a file cannot be removed.
        """
        own = self.names & set(self.names - {LOG} if names is None else names)
        self.check(own)
        try:
            for name in own:
                (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise Refused(f"cannot clear {self.folder}: {error.strerror or error}") from error
        self.names -= own
        if names is None:
            self._listed = None  # the next file that is added starts a new list
        elif own:
            self._write()

    def sweep(self) -> None:
        """Remove the half-written files of killed processes; a living process's too, so hold the lock."""
        for file in self._half_written():
            file.unlink(missing_ok=True)

    def _half_written(self) -> Iterator[Path]:
        for place in ("", *FOLDERS):
            folder = self.folder / place
            if place and folder.is_symlink():
                continue
            for last, file in leftovers(folder):
                name = f"{place}/{last}".lstrip("/")
                if name in self.names or name == NAME:
                    yield file

    def write_file(self, name: str, write: Callable[[Path], Any]) -> str:
        """List the file `name`, make it by `write` under a temporary name until it is whole, and return its SHA-256.

        Raises:
            RunFailed: it cannot be written, or the existing file must not be replaced (see `check`).
        """
        try:
            self.add([name])
        except Refused as error:
            raise RunFailed(str(error)) from error
        with atomic(self.folder / name) as temporary:
            write(temporary)
            return sha256(temporary)


def _in_the_way(path: Path) -> Refused:
    if path.is_symlink():
        return linked(path)
    what = "is a folder, not a file" if path.is_dir() else "is not a file of this program, which replaces its own alone"
    return Refused(f"{path} {what}; take it away, or choose another --expid")


def _listed_in(path: Path) -> set[str] | None:
    """Read the names in a manifest; None if there is none. A manifest of this program has a checksum of its content."""
    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_file():
        raise _in_the_way(path)
    with contextlib.suppress(Refused, OSError):
        names = read_json(path, checked=True).get("files")
        if isinstance(names, list) and all(_is_plain(name) for name in names):
            return set(names)
    raise Refused(f"{path} is damaged, or not of this program: take it away, or choose another --expid")


def _is_plain(name: object) -> bool:
    """Tell whether `name` is that of a file in a folder, or in one of the subfolders that runs have."""
    if not isinstance(name, str) or not name.isprintable() or name.startswith("."):
        return False
    place, slash, last = name.rpartition("/")
    return bool(last) and not last.startswith(".") and (place in FOLDERS if slash else True)


def _of_before(folder: Path) -> Iterator[str]:
    """Yield the files of a run or a grid from before manifests existed: existing files with the exact names."""
    yield from _of_report_before(folder)
    saved = _object_in(folder / "args.json")
    if not saved and (folder / LOG).is_file():  # a cell that had not begun; the grid's args.json is long, so it is read last
        cells = _object_in(folder.parent / "args.json").get("cells")
        yield from [LOG] if isinstance(cells, list) and folder.name in cells else []
    if str(saved.get("experiment", DEFAULT)) not in EXPERIMENTS or not {"argv", "commit", "versions"} & saved.keys():
        return
    names = names_of(saved)
    for experiment in EXPERIMENTS.values():
        names |= set(experiment.writes) if experiment.into_runs else set()
    for name in LISTS:
        listed = _object_in(folder / name).get("files")
        names |= {n for n in listed if _is_plain(n)} if isinstance(listed, Mapping) else set()
    yield from (name for name in names if (folder / name).is_file())
    events = folder / "tensorboard"
    if events.is_dir() and not events.is_symlink():
        yield from (f"tensorboard/{file.name}" for file in events.iterdir() if EVENTS.fullmatch(file.name) and file.is_file())


def _of_report_before(folder: Path) -> Iterator[str]:
    """Yield the files of an assignment's report from before manifests existed: those that its text links to.

    Such a report lies in a folder without `args.json` below the grid's folder.
    """
    text = folder / "report.md"
    if (folder / "args.json").exists() or not (folder.parent / "grid.csv").is_file() or not (folder / "report.html").is_file():
        return
    with contextlib.suppress(Refused):
        linked = LINKED.findall(read_input(text, LARGEST).decode("utf-8", "replace"))
        names = {"report.md", "report.html", *linked, *(f"{name.removesuffix('.png')}.pdf" for name in linked)}
        yield from (name for name in names if _is_plain(name) and (folder / name).is_file())


def _object_in(file: Path) -> dict[str, Any]:
    if not file.is_file() or file.is_symlink():
        return {}
    try:
        return read_json(file)
    except Refused:
        return {}
