"""The record of all that a report was made from: where nothing of it has changed, the report is not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.files import sha256
from Utils.base.json_files import read_json
from Utils.grid.grid_folder import state_of
from Utils.options.report_choices import Choices
from Utils.report.assignment.discussion import read_discussion
from Utils.report.collect import Collection, run_folders
from Utils.report.print_pdf import browser
from Utils.runs.manifest import LOG
from Utils.runs.manifest import NAME as MANIFEST

NAME = "made_from.json"
PROGRAM = Path(__file__).resolve().parent.parent  # Utils/
SOURCES = ("figures", "measure", "report", "runs", "trace")  # packages that a report's numbers and pictures come from
LIBRARIES = ("matplotlib", "pandas", "numpy", "jinja2")
OF_RUN = ("args.json", "summary.json")  # compared by content; the summary has the checksums of the other files
NOT_OF_RUN = (LOG, MANIFEST)
Parts = dict[str, str]  # a digest of each part


def parts_of(names: Iterable[str | Path], choices: Choices, out: Path) -> Parts:
    """Return a digest of each part that a report in `out` of the runs in the folders `names` is made from.

    The parts are the program, the choices, the author's text, and every run and grid. Of a run, `args.json` and `summary.json`
    count by their content, other files by size and time.
    """
    found = Collection()
    discussion = read_discussion(out)
    folders = list(dict.fromkeys(folder for name in names for folder in run_folders(Path(name), found)))
    grids = dict.fromkeys(folder.parent for folder in folders if (folder.parent / "grid.csv").is_file())
    parts = {
        "program": _program(),
        "choices": _digest(asdict(choices)),
        "settings": _digest([found.settings, [[str(path), reason] for path, reason in found.left_out], bool(browser())]),
        "discussion": _digest([discussion.notes, discussion.written]),
    }
    parts |= {str(grid / "grid.csv"): _digest(_content(grid / "grid.csv")) for grid in grids}
    return parts | {str(folder): _digest(_of_run(folder)) for folder in folders}


def lines_if_unchanged(out: Path, parts: Parts, *, run: bool = False) -> list[str] | None:
    """Return the lines that the report in `out` ended with, if it was made from `parts` and its files are whole; else None.

    The PDF may be another print. With `run`, `out` is the folder of a run, which must be done.
    """
    try:
        record = read_json(out / NAME, checked=True)
        done = not run or read_json(out / "summary.json").get("status") == "done"
    except Refused:
        return None
    lines, files = record.get("lines"), record.get("files")
    if not done or record.get("parts") != parts or not isinstance(lines, list) or not isinstance(files, Mapping):
        return None
    whole = all(_is_whole(out, str(name), digest) for name, digest in files.items())
    return [str(line) for line in lines] if whole else None


class Noted:
    """A function that writes files by another one, and notes their checksums for the record of a report."""

    def __init__(self, write: Callable[[str, Callable[[Path], Any]], Any]) -> None:
        self._write, self._sums = write, {}

    def __call__(self, name: str, make: Callable[[Path], Any]) -> None:
        """Write the file `name` by `make`."""
        self._sums[name] = self._write(name, make)

    def record(self, parts: Parts, lines: Sequence[str]) -> dict[str, Any]:
        """Return the content of the record: `lines` are those that the command ends with."""
        return {"parts": parts, "files": self._sums, "lines": list(lines)}


def _is_whole(out: Path, name: str, digest: Any) -> bool:
    """Tell whether a file of the report is as it was written; the print of the page need only be there."""
    file = out / name
    try:
        there = file.is_file() and not file.is_symlink()
        return there and (sha256(file) == digest or ("/" not in name and file.suffix == ".pdf"))
    except OSError:
        return False


@cache
def _program() -> str:
    """Return a digest of the program's sources and of the versions of the libraries that draw and write."""
    files = (file for name in SOURCES for file in sorted((PROGRAM / name).rglob("*")) if file.suffix in (".py", ".j2", ".css"))
    return _digest([[version(name) for name in LIBRARIES], [[str(file.relative_to(PROGRAM)), sha256(file)] for file in files]])


def _of_run(folder: Path) -> list[Any]:
    try:
        files = sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".") and f.name not in NOT_OF_RUN)
        facts = [[f.name, _content(f) if f.name in OF_RUN else [f.stat().st_size, f.stat().st_mtime_ns]] for f in files]
    except OSError as error:
        return [str(error)]
    ended = (folder / "summary.json").is_file()
    return facts if ended else [*facts, state_of(folder).status]


def _content(file: Path) -> str:
    try:
        return sha256(file) if file.is_file() else ""
    except OSError as error:
        return str(error)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()
