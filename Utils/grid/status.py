"""The status of the runs in some folders: the rows of `--experiment status`, read without writing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.grid.grid_folder import State, state_of
from Utils.options.experiments import EXPERIMENTS
from Utils.options.table import of_step_time
from Utils.runs.manifest import LOG
from Utils.runs.progress import Progress, epochs_of, progress_of, work_of
from Utils.runs.validate import check_options

Key = tuple[Any, ...]


@dataclass(frozen=True)
class RunProgress:
    """One run: its name, its state, its progress, and the work that it has to do (see `Utils.runs.progress.work_of`)."""

    name: str
    state: State
    progress: Progress
    work: Mapping[str, Any]

    @property
    def total(self) -> tuple[int, int] | None:
        """The epochs before and after pruning that it trains in total."""
        return epochs_of(self.work)

    @property
    def pace(self) -> Key:
        """The options that determine the time of an epoch, as far as `work` has them."""
        return tuple(str(self.work.get(name)) for name in of_step_time())


@dataclass(frozen=True)
class Group:
    """The cells of a grid, or the single runs among the folders; single runs have no common `folder`."""

    folder: Path | None
    rows: list[RunProgress] = field(default_factory=list)

    def count(self, status: str) -> int:
        """Count the runs with this status."""
        return sum(row.state.status == status for row in self.rows)


def groups_of(folders: Iterable[str | Path]) -> tuple[list[Group], dict[Path, Exception]]:
    """Return the grids and single runs in `folders`, each folder once, and the folders without a run with their errors.

    The error is an `OSError` if the system does not let this program read a folder, else `Refused`.
    """
    grids: list[Group] = []
    single, bad = Group(None), {}
    for folder in {Path(f).resolve(): Path(f) for f in folders}.values():
        try:
            if not (folder / "args.json").exists() and (folder / LOG).exists():
                options: Mapping[str, Any] = {}  # a cell that did not begin after its log was opened
            elif not (folder / "args.json").exists():
                raise Refused("no run there")
            else:
                options = read_json(folder / "args.json")
                _check(options)
            if isinstance(options.get("cells"), list):
                grids.append(Group(folder, _cells(folder, options)))
            else:
                single.rows.append(RunProgress(str(folder), state_of(folder), progress_of(folder), work_of(options)))
        except (Refused, OSError) as error:
            bad[folder] = error
    return grids + ([single] if single.rows else []), bad


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options of a single run that no run writes.

    The options of a grid, and of an experiment of another version, are not checked.
    """
    if "cells" not in options and str(options.get("experiment")) in EXPERIMENTS:
        check_options(options, str(options["experiment"]))


def _cells(folder: Path, grid: Mapping[str, Any]) -> list[RunProgress]:
    """Return the cells that a grid's `args.json` names; for a cell that has not begun, its work is read from there."""
    known = grid.get("work") if isinstance(grid.get("work"), dict) else {}
    rows = []
    for name in map(str, grid["cells"]):
        cell, progress = folder / name, Progress()
        work = known.get(name)
        try:
            state, progress = state_of(cell), progress_of(cell)
            if (cell / "args.json").exists():
                options = read_json(cell / "args.json")
                _check(options)
                work = work_of(options)
        except Refused as error:
            state = State("failed", str(error))
        except OSError as error:
            state = State("failed", f"cannot be read: {error.strerror or error}")
        rows.append(RunProgress(name, state, progress, work if isinstance(work, dict) else {}))
    return rows


def seconds_left(rows: Sequence[RunProgress]) -> tuple[float | None, str]:
    """Estimate the seconds of computing that running and pending runs still need, from the epochs measured among `rows`.

    Returns:
        The seconds of all runs whose epochs were measured, None if there is no such run; and why others are left out.
    """
    paces = _paces(rows)
    dense = {_dense(row) for row in rows if row.progress.pre}
    known: list[float] = []
    unknown: dict[str, int] = {}
    for row in (row for row in rows if row.state.status in ("running", "pending")):
        if row.total is None:
            reason = "no epochs to train" if row.work else "nobody noted what they train"
        else:
            mixed = " in mixed precision" if row.work.get("quantization") else ""
            reason = f"no epoch of {row.work.get('model')} on {row.work.get('dataset')}{mixed} has been measured yet"
        left = _epochs_left(row, dense)
        if left is None or (left and row.pace not in paces):
            unknown[reason] = unknown.get(reason, 0) + 1
        else:
            known.append(left * paces.get(row.pace, 0.0))
    reasons = "; ".join(f"{count} {'run' if count == 1 else 'runs'} unknown, {reason}" for reason, count in unknown.items())
    return sum(known) if known else None, reasons


def _epochs_left(row: RunProgress, dense: set[Key]) -> int | None:
    """Return the epochs that a run still trains, without a dense training that is done or was counted before."""
    if row.total is None:
        return None
    pre, post = row.total
    left = max(post - row.progress.post, 0)
    if "level" in row.work or _dense(row) not in dense:
        left += max(pre - row.progress.pre, 0)
        dense.add(_dense(row))
    return left


def _dense(row: RunProgress) -> Key:
    """Return the options that cells with a common dense training share."""
    return tuple(str(value) for name, value in sorted(row.work.items()) if name != "post_epochs")


def _paces(rows: Iterable[RunProgress]) -> dict[Key, float]:
    """Return the seconds of an epoch by `pace`: its training, and its evaluation if finished runs tell it."""
    trained: dict[Key, list[tuple[float, int]]] = {}
    tested: dict[Key, list[tuple[float, int]]] = {}
    for row in rows:
        if row.progress.epochs:
            trained.setdefault(row.pace, []).append((row.progress.seconds, row.progress.epochs))
        spent = row.state.summary.get("seconds")
        if isinstance(spent, dict) and row.work.get("pre_epochs") == 0 and "level" not in row.work:  # else others tested too
            tested.setdefault(row.pace, []).append((float(spent.get("eval") or 0.0), row.progress.post + 2))

    def mean(pairs: list[tuple[float, int]]) -> float:
        return sum(seconds for seconds, _ in pairs) / sum(count for _, count in pairs)

    return {key: mean(pairs) + (mean(tested[key]) if key in tested else 0.0) for key, pairs in trained.items()}
