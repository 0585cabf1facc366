"""The runs of a report: every folder that `--run` names or contains, read once; unreadable ones are listed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused, RunFailed
from Utils.base.json_files import read_json
from Utils.options.assignment import OF_REPORT
from Utils.options.experiments import of_kind
from Utils.options.report_choices import check
from Utils.report.report_run import PRUNING, Run, read_run
from Utils.runs.validate import is_number

DEPTH = 4  # folders below a named one that are searched for runs
STUDIES = of_kind("study")


@dataclass
class Collection:
    """The runs that were found.

    Attributes:
        runs: the runs that prune.
        traces: traces of the profiler.
        studies: studies of conservation and of regrowth.
        regrown: regrown networks.
        left_out: folders that are left out, with the reason.
        settings: an assignment's description of its report.
        notes: the notes of the runs.
        unreadable: whether the system did not let this program read some folders.
    """

    runs: list[Run] = field(default_factory=list)
    traces: list[Run] = field(default_factory=list)
    studies: list[Run] = field(default_factory=list)
    regrown: list[Run] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unreadable: bool = False
    _by_identity: dict[str, Run] = field(default_factory=dict, repr=False)

    @property
    def done(self) -> list[Run]:
        """The runs that have numbers."""
        return [run for run in self.runs if run.done]

    def add(self, folder: Path) -> None:
        """Sort one run folder in; an unusable one is left out with its reason, without an error."""
        self.sort_in(read_run(folder))

    def sort_in(self, run: Run) -> None:
        """Sort a run in by its experiment and status."""
        folder = run.folder
        self.notes += run.notes
        experiment = str(run["experiment"] or "")
        if not run.done:
            self.left_out.append((folder, f"{run.status}{f': {run.reason}' if run.reason else ''}"))
        if experiment in PRUNING or (run.done and experiment == "regrow"):
            twin = self._by_identity.setdefault(run.identity, run) if run.done else run
            if twin is run:
                (self.runs if experiment in PRUNING else self.regrown).append(run)
            else:  # its numbers are the same, not a second sample
                self.left_out.append((folder, f"the same run as {twin.folder}, which counts once"))
        elif run.done and experiment == "trace":
            self.traces.append(run)
        elif run.done and experiment in STUDIES:
            self.studies.append(run)
        elif run.done and experiment not in ("report", "assignment"):
            self.left_out.append((folder, f"a report has no section for --experiment {experiment}"))


def collect(names: Iterable[str | Path]) -> Collection:
    """Collect all runs in the folders `names`: runs, grids, or folders that contain them; each is taken once.

    Raises:
        Refused: there is no finished run in any of them.
        RunFailed: there is no finished run that can be read.
    """
    names = [Path(name) for name in names]
    found, seen = Collection(), set()
    for name in names:
        if not os.path.isdir(name):
            found.left_out.append((name, "no such folder"))
        for folder in run_folders(name, found):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                with _named(folder, found):
                    found.add(folder)
    if not (found.done or found.traces or found.studies or found.regrown):
        first = f"; {found.left_out[0][0]}: {found.left_out[0][1]}" if found.left_out else ""
        kind = RunFailed if found.unreadable else Refused
        raise kind(f"--run: no finished run in {', '.join(map(str, names))}{first}")
    return found


def run_folders(name: Path, found: Collection, depth: int = DEPTH) -> Iterator[Path]:
    """Yield the run folders in `name`; for a grid they are its cells.

    Cells that the grid lists and that have not run are left out, with a note.
    """
    inner: list[Path] = []
    with _named(name, found):
        if (name / "grid.csv").is_file() or _lists_cells(name):
            yield from _cells(name, found)
        elif (name / "args.json").is_file() or (name / "summary.json").is_file():
            yield name
        elif depth and name.is_dir():
            inner = sorted(f for f in name.iterdir() if os.path.isdir(f) and not f.name.startswith("."))
    for folder in inner:
        yield from run_folders(folder, found, depth - 1)


@contextmanager
def _named(folder: Path, found: Collection) -> Iterator[None]:
    """Leave a folder out, with the reason, if the system does not let this program read it."""
    try:
        yield
    except OSError as error:
        found.left_out.append((folder, f"cannot be read: {error.strerror or error}"))
        found.unreadable = True


def _lists_cells(name: Path) -> bool:
    try:
        return isinstance(read_json(name / "args.json").get("cells"), list)
    except Refused:
        return False


def _listed(options: Mapping[str, Any]) -> list[Any]:
    """Return the names of a grid's cells; none if a damaged file has another value there."""
    return options["cells"] if isinstance(options.get("cells"), list) else []


def _cells(grid: Path, found: Collection) -> list[Path]:
    try:
        options = read_json(grid / "args.json")
    except Refused as error:
        options = {}
        found.left_out += [(grid, str(error))] if (grid / "args.json").exists() else []
    found.settings |= _settings(grid, options, found)
    listed = [grid / str(cell) for cell in _listed(options) if Path(str(cell)).name == str(cell)]
    there = sorted(f for f in grid.iterdir() if f.is_dir() and (f / "args.json").is_file())
    waiting = [cell for cell in listed if not (cell / "args.json").is_file()]
    found.left_out += [(cell, "not run yet") for cell in waiting]
    return [cell for cell in listed if cell not in waiting] + [cell for cell in there if cell not in listed]


def _settings(grid: Path, options: Mapping[str, Any], found: Collection) -> dict[str, Any]:
    """Return the settings of a grid for its report; an invalid value is left out, and listed if it is in `report`."""
    said = {key: options[key] for key in OF_REPORT if options.get(key) not in (None, {})}
    sound = {key: isinstance(value, str) for key, value in said.items()}
    sound |= {"scale": is_number(said.get("scale")), "report": isinstance(said.get("report"), dict)}
    try:
        check(said["report"] if sound["report"] else {})
    except Refused as error:
        sound["report"] = False
        found.left_out.append((grid / "args.json", str(error)))
    return {key: value for key, value in said.items() if sound[key]}
