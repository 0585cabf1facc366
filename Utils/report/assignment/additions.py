"""The command lines that add what a report lacks, to its own grid where that can be: each is parsed here before it is suggested."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.grid.grid_folder import state_of
from Utils.options.command_line import parse
from Utils.options.report_choices import ASSIGNMENT
from Utils.options.types import Cell, Grid
from Utils.report.commands import command_of
from Utils.report.report_run import Run
from Utils.runs.places import path_of

NARROWING = ("pruner-list", "compression-list", "compression", "seed-list")  # settings that may have left cells out
DROPPED = ("--overwrite", "--dry-run", "--no-cuda")  # they would run finished cells again, run none, or leave a card idle


@dataclass(frozen=True)
class Need:
    """A cell that a report needs.

    Attributes:
        model, dataset: the network and the dataset.
        pruner: the method.
        compression: the compression.
        mixed: whether it trains in mixed precision.
        traced: whether its inference is traced.
    """

    model: str
    dataset: str
    pruner: str
    compression: float
    mixed: bool = False
    traced: bool = False

    def met_by(self, cell: Cell) -> bool:
        """Tell whether a cell of a grid is the one."""
        options = cell.options
        mixed = options.quantization or options.precision == "bf16"
        same = (options.model, options.dataset, options.pruner, bool(mixed)) == (
            self.model,
            self.dataset,
            self.pruner,
            self.mixed,
        )
        near = abs((options.compression or 0.0) - self.compression) < 1e-6
        return same and near and (options.save_trace or not self.traced)


class GridFolder:
    """The grid of a report's runs, and its command line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            recorded = read_json(folder / "args.json")
        except Refused:
            recorded = {}
        argv = recorded.get("argv")
        words = argv[1:] if isinstance(argv, list) and all(isinstance(word, str) for word in argv) else []
        self.words = [word for word in words if word not in DROPPED]
        self.is_assignment = recorded.get("experiment") == ASSIGNMENT

    @property
    def same_command(self) -> str:
        """The command that made the grid, without the flags that would begin it anew."""
        return shlex.join(["python", "main.py", *self.words])

    @cached_property
    def plan(self) -> Grid | None:
        """The cells of that command; None if it does not lead to this folder any more."""
        return self._plan(self.words)

    def to_add(self, needs: Sequence[Need], sets: Sequence[str] = ()) -> str:
        """Return a command that adds the cells to this grid; "" if there is none.

        The same command comes first, then that without the settings that leave cells out, then one with the settings `sets`.
        """
        for words in (self.words, self._widened(self.words), self._with(self._widened(self.words), sets)):
            plan = self.plan if words == self.words else self._plan(words)
            if plan and all(any(need.met_by(cell) for cell in plan.cells) for need in needs):
                return shlex.join(["python", "main.py", *words])
        return ""

    def cell_of(self, need: Need) -> Path | None:
        """Return the folder of the cell, which may be planned only, or traced or not."""
        cells = self.plan.cells if self.plan else ()
        alike = Need(need.model, need.dataset, need.pruner, need.compression, need.mixed)
        return next((self.folder / Path(path_of(cell.options)).name for cell in cells if alike.met_by(cell)), None)

    def states(self, needs: Sequence[Need]) -> str:
        """Name the states of cells that are planned and not done: `pending`, or `failed (out of memory)`."""
        found: dict[str, int] = {}
        for folder in {folder for need in needs if (folder := self.cell_of(need))}:
            state = state_of(folder)
            word = f"{state.status} ({state.reason})" if state.reason else state.status
            found[word] = found.get(word, 0) + 1
        return ", ".join(f"{count} {word}" for word, count in sorted(found.items()))

    def _widened(self, words: Sequence[str]) -> list[str]:
        """Return the words of an assignment's command without settings that leave cells out, for the same folder."""
        kept, rest, narrowed = [], list(words), False
        while rest:
            word = rest.pop(0)
            flag, equals, value = word.partition("=")
            if flag == "--set" and self.is_assignment:
                values = [value] if equals else []
                while rest and not rest[0].startswith("--") and not equals:
                    values.append(rest.pop(0))
                stay = [v for v in values if v.partition("=")[0].replace("_", "-") not in NARROWING]
                narrowed |= stay != values
                kept += ["--set", *stay] if stay else []
            else:
                kept.append(word)
        return self._here(kept) if narrowed else kept

    def _with(self, words: Sequence[str], sets: Sequence[str]) -> list[str]:
        """Return the words with settings added, for the same folder."""
        more = [word for each in sets for word in ("--set", each)]
        return self._here([*words, *more]) if self.is_assignment and sets else list(words)

    def _here(self, words: Sequence[str]) -> list[str]:
        named = any(word.partition("=")[0] == "--expid" for word in words)
        return [*words] if named else [*words, "--expid", self.folder.name]

    def _plan(self, words: Sequence[str]) -> Grid | None:
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                plan = parse(list(words))
        except (Refused, SystemExit, OSError):
            return None
        same = isinstance(plan, Grid) and Path(path_of(plan)).resolve() == self.folder.resolve()
        return plan if same else None


@dataclass(frozen=True)
class Sources:
    """The folders that a report is made of, and how more is added to them."""

    names: Sequence[str | Path]

    def grid_of(self, runs: Sequence[Run]) -> GridFolder | None:
        """Return the grid that runs are cells of: an assignment's if there is one, else the first."""
        folders = dict.fromkeys(run.folder.parent for run in runs if run.grid)
        found = [GridFolder(folder) for folder in folders]
        return next((grid for grid in found if grid.is_assignment), found[0] if found else None)

    def beside(self, run: Run, name: str, **changes: object) -> str:
        """Return the command of a grid or a run like `run`, with `changes`, and of the report of both."""
        place = Path(str(run["result_dir"]), "singleshot", name)
        made = command_of(run, experiment="singleshot", expid=name, **changes)
        return f"{made} && {self.report(place)}"

    def report(self, *more: Path) -> str:
        """Return the command of the report of the same folders and `more`."""
        words = ["python", "main.py", "--experiment", "report", "--layout", ASSIGNMENT, "--run"]
        return shlex.join([*words, *map(str, (*self.names, *more))])
