"""The command lines that add to a report what it lacks, to its own grid where that can be.

A command of a grid is parsed before it is suggested, so that it is known to have the cells.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.grid.grid_folder import state_of
from Utils.options.command_line import parse
from Utils.options.flags import TRUTH
from Utils.options.report_choices import ASSIGNMENT
from Utils.options.types import Cell, Grid
from Utils.report.commands import BUDGETS, command_of
from Utils.report.report_run import Run
from Utils.runs.places import path_of

NARROWING = ("pruner-list", "compression-list", "compression")  # settings of a preset that leave cells out
DROPPED = ("--overwrite", "--dry-run")  # flags that would run finished cells again, or none


@dataclass(frozen=True)
class Need:
    """A cell that a report needs: network, dataset, method, compression, and whether in mixed precision or traced."""

    model: str
    dataset: str
    pruner: str
    compression: float
    mixed: bool = False
    traced: bool = False

    def met_by(self, cell: Cell) -> bool:
        """Tell whether a cell of a grid is the one."""
        options = cell.options
        if (options.model, options.dataset, options.pruner) != (self.model, self.dataset, self.pruner):
            return False
        mixed = options.quantization or options.precision == "bf16"
        near = abs((options.compression or 0.0) - self.compression) < 1e-6
        return near and bool(mixed) == self.mixed and (options.save_trace or not self.traced)


class GridFolder:
    """A grid whose cells are runs of a report, and the command line that made it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            recorded = read_json(folder / "args.json")
        except Refused:
            recorded = {}
        argv = recorded.get("argv")
        words = argv[1:] if isinstance(argv, list) and all(isinstance(word, str) for word in argv) else []
        self.words = _without(words, DROPPED)
        self.is_assignment = recorded.get("experiment") == ASSIGNMENT

    @cached_property
    def plan(self) -> Grid | None:
        """The cells of that command; None if it does not lead to this folder any more."""
        return self._plan(self.words)

    @property
    def same_command(self) -> str:
        """The command that made the grid, without the flags that would begin it anew; "" if it leads elsewhere."""
        return _line(self.words) if self.plan else ""

    def to_add(self, needs: Sequence[Need], sets: Sequence[str] = (), without: Collection[str] = ()) -> str:
        """Return a command that adds the cells to this grid, and has no flag of `without`; "" if there is none.

        The same command comes first, then that without the settings that leave cells out, then one with the settings `sets`.
        """
        words = _without(self.words, without)
        for each in (words, self._widened(words), self._with(self._widened(words), sets)):
            plan = self.plan if each == self.words else self._plan(each)
            if plan and all(any(need.met_by(cell) for cell in plan.cells) for need in needs):
                return _line(each)
        return ""

    def folder_of(self, need: Need) -> Path | None:
        """Return the folder of a planned cell, traced or not."""
        cells = self.plan.cells if self.plan else ()
        alike = Need(need.model, need.dataset, need.pruner, need.compression, need.mixed)
        return next((self.folder / path_of(cell.options).name for cell in cells if alike.met_by(cell)), None)

    def states(self, needs: Sequence[Need]) -> str:
        """Name the states of planned cells: `2 pending`, or `1 failed (out of memory)`."""
        found: dict[str, int] = {}
        for folder in dict.fromkeys(folder for need in needs if (folder := self.folder_of(need))):
            state = state_of(folder)
            word = f"{state.status} ({state.reason})" if state.reason else state.status
            found[word] = found.get(word, 0) + 1
        return ", ".join(f"{count} {word}" for word, count in sorted(found.items()))

    def _widened(self, words: Sequence[str]) -> list[str]:
        """Return the words of an assignment's command without settings that leave cells out, for the same folder."""
        kept, rest = [], list(words)
        while rest:
            flag, equals, value = rest.pop(0).partition("=")
            if flag != "--set":
                kept.append(flag + equals + value)
                continue
            value = value if equals or not rest else rest.pop(0)
            if value.partition("=")[0].replace("_", "-") not in NARROWING:
                kept += [flag, value]
        return self._here(kept) if self.is_assignment and kept != [*words] else [*words]

    def _with(self, words: Sequence[str], sets: Sequence[str]) -> list[str]:
        """Return the words with settings of a preset added, for the same folder."""
        more = [word for each in sets for word in ("--set", each)]
        return self._here([*words, *more]) if self.is_assignment and sets else [*words]

    def _here(self, words: Sequence[str]) -> list[str]:
        named = any(word.partition("=")[0] == "--expid" for word in words)
        return [*words] if named else [*words, "--expid", self.folder.name]

    def _plan(self, words: Sequence[str]) -> Grid | None:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                plan = parse([*words])
        except (Refused, SystemExit, OSError):
            return None
        if not isinstance(plan, Grid) or plan.overwrite or plan.dry_run:
            return None
        return plan if path_of(plan).resolve() == self.folder.resolve() else None


@dataclass(frozen=True)
class Sources:
    """The folders that a report is made of, and the commands that make more beside them."""

    names: Sequence[str | Path]

    def grid_of(self, runs: Sequence[Run]) -> GridFolder | None:
        """Return the grid that runs are cells of: an assignment's if there is one, else the first."""
        found = [GridFolder(folder) for folder in dict.fromkeys(run.folder.parent for run in runs if run.grid)]
        return next((grid for grid in found if grid.is_assignment), found[0] if found else None)

    def then_report(self, command: str, grid: GridFolder | None = None) -> str:
        """Return a command and, unless it is that of an assignment, which makes its report itself, that of the report."""
        return command if grid and grid.is_assignment else f"{command} && {self.report()}"

    def beside(self, like: Run, name: str, needs: Sequence[Need], **changes: object) -> str:
        """Return the command of a grid with the cells `needs`, made like the run `like`, and of the report of both."""
        changes |= {"pruner_list": list(dict.fromkeys(need.pruner for need in needs))}
        changes |= {"compression_list": sorted({need.compression for need in needs}), "save_trace": needs[0].traced}
        changes |= {"quantization": True} if needs[0].mixed else {}
        changes |= dict.fromkeys(("pruner", *BUDGETS))
        made = command_of(like, experiment="singleshot", expid=name, **changes)
        return f"{made} && {self.report(Path(str(like['result_dir']), 'singleshot', name))}"

    def report(self, *more: Path) -> str:
        """Return the command of the report of the same folders and `more`."""
        return _line(["--experiment", "report", "--layout", ASSIGNMENT, "--run", *map(str, (*self.names, *more))])


def _line(words: Sequence[str]) -> str:
    return shlex.join(["python", "main.py", *words])


def _without(words: Sequence[str], flags: Collection[str]) -> list[str]:
    """Leave switches out, with the truth value that may follow each."""
    kept: list[str] = []
    dropped = False
    for word in words:
        after, dropped = dropped, word.partition("=")[0] in flags
        if not dropped and not (after and word.lower() in TRUTH):
            kept.append(word)
    return kept
