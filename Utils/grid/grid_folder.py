"""The states of the cells of a grid, read from their folders, and `grid.csv`, which has a row for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Utils.base.checksums import damaged
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.base.locks import is_locked
from Utils.base.text import flag_of, print_lines
from Utils.compute.device import device_of
from Utils.compute.environment import environment
from Utils.grid.grid_table import save_table
from Utils.options.groups.grid_options import ABLATIONS
from Utils.options.resolve import differences, identity
from Utils.options.table import incidental, table
from Utils.options.types import Assignment, Cell, Grid
from Utils.runs import summary_keys
from Utils.runs.later_measurements import later_numbers
from Utils.runs.places import path_of
from Utils.runs.progress import work_of
from Utils.runs.run_files import alone_in, tidy
from Utils.runs.validate import check_result

SMALL = 1 << 20  # bytes: files below this are checked each time that a grid is read


@dataclass(frozen=True)
class State:
    """The state of a run.

    Attributes:
        status: pending, running, done or failed.
        reason: the reason of a failure.
        summary: that of a run that ended, with later measurements in it.
        notes: a line for each unreadable later measurement; the caller prints them.
    """

    status: str
    reason: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def state_of(folder: Path) -> State:
    """Return the state of the run in `folder`; it is running if a living process has locked the folder."""
    if is_locked(folder / ".lock"):
        return State("running")
    if not (folder / "summary.json").exists():
        return State("pending")
    try:
        summary = read_json(folder / "summary.json")
    except Refused as error:
        return State("failed", str(error))
    numbers, notes = later_numbers(folder)
    return replace(_ended(folder, summary | numbers), notes=tuple(notes))


def _ended(folder: Path, summary: Mapping[str, Any]) -> State:
    """Return the state of a run with a summary: done, or failed if the summary or one of its files has changed."""
    try:
        check_result(summary)
    except Refused as error:
        return State("failed", f"{error}: remove the cell's folder to run it again")
    if summary.get("status") != "done":
        return State("failed", str(summary.get("reason", "")), summary)
    name = str(summary.get("expid")).rpartition("/")[2]
    if name != folder.name and (folder.parent / "args.json").exists():
        return State("failed", f"{folder} holds the cell {name}: remove the folder to run its own")
    if file := damaged(folder, summary, SMALL):  # networks are checked when they are used
        return State("failed", f"{file} is missing or damaged: remove the cell's folder to run it again", summary)
    return State("done", "", summary)


def read_states(plan: Grid, queued: Mapping[str, State]) -> dict[str, State]:
    """Read and print how far the cells of `plan` are; `queued` are the states of the cells that Slurm has.

    It removes files that killed processes left in the folders of finished cells.
    """
    states = {cell.name: State("pending") if plan.overwrite else state_of(path_of(cell.options)) for cell in plan.cells}
    print_lines(note for state in states.values() for note in state.notes)
    states |= {name: state for name, state in queued.items() if name in states and states[name].status != "done"}
    for cell in plan.cells:
        if states[cell.name].status == "done" and not plan.dry_run:
            tidy(path_of(cell.options))
    done = sum(state.status == "done" for state in states.values())
    print(f"Grid {plan.expid}: {len(plan.cells)} cells, {done} done, in {path_of(plan)}")
    return states


def begin_grid(plan: Grid, folder: Path) -> list[dict[str, Any]]:
    """Write the grid's `args.json`.

    Returns:
        The rows of the cells that earlier commands asked for and this one does not (see `earlier_rows`).
    """
    others = earlier_cells(folder, plan)
    names = [cell.name for cell in plan.cells] + others
    earlier = earlier_rows(folder, others)
    print_lines(note for row in earlier for note in row["notes"])
    work = {cell.name: work_of(cell.options) for cell in plan.cells}
    with alone_in(folder, -1) as own:
        if plan.overwrite:
            own.remove()
        own.write_json("args.json", plan.record() | {"cells": names, "work": work} | environment(_device(plan)))
    return earlier


def _device(plan: Grid) -> torch.device:
    """Return the device that the cells compute on; this machine's CPU if they run on other machines."""
    return device_of(plan.cells[0].options) if plan.launcher == "local" else torch.device("cpu")


def check_grid_folder(folder: Path, plan: Grid) -> None:
    """Refuse a folder that holds a single run, or a grid of other axes or another recipe. The lists may have grown."""
    if not (folder / "args.json").exists() or plan.overwrite:
        return
    saved = read_json(folder / "args.json")
    lists = [o.name for o in table() if o.axis]
    if (folder / "summary.json").exists() or ("pruner" in saved and not any(saved.get(name) for name in lists)):
        raise Refused(f"{folder} holds a single run, not a grid: choose another --expid or --overwrite")
    if isinstance(plan, Assignment):
        changes = _part_changes(saved, plan, lists)
    else:
        changes = _changes(saved, identity(plan), saved.get("cells", ()), lists)
    if changes:
        raise Refused(f"{folder} holds another grid ({', '.join(changes)}): choose another --expid or --overwrite")


def _part_changes(saved: Mapping[str, Any], plan: Assignment, lists: Sequence[str]) -> list[str]:
    """Describe the differences of an assignment from the saved one. Parts may come or go; each must stay the same."""
    names, earlier = saved.get("cells", ()), saved.get("parts", {})
    both = {name: part for name, part in plan.parts.items() if name in earlier}
    if not both:
        return [f"parts {', '.join(earlier) or 'none'} there, {', '.join(plan.parts)} asked"]
    own = {name: [cell for cell in names if f"{cell},".startswith(f"part={name},")] for name in both}
    found = {name: _changes(earlier[name], part, own[name], lists) for name, part in both.items()}
    return [f"part {name}: {change}" for name, changes in found.items() for change in changes]


def _changes(saved: Mapping[str, Any], asked: Mapping[str, Any], cells: Iterable[str], lists: Sequence[str]) -> list[str]:
    """Describe the differences between two grids; the saved one has `cells`. The values in `lists` may differ."""
    before = {k: asked.get(k) for k in asked} | dict(saved)  # an option newer than the grid counts as equal
    changes = differences(before, asked, but=(*lists, "for", "cells"))
    known = {str(name).partition("pruner=")[2].partition(",")[0] or saved.get("pruner") for name in cells}
    overrides = [sorted([*o] for o in own if o[0].partition("@")[0] in known) for own in (saved.get("for", ()), asked["for"])]
    changes += [f"--for {overrides[0]} there, {overrides[1]} asked"] if overrides[0] != overrides[1] else []
    axes = f"lists {_words(saved, lists)} there, {_words(asked, lists)} asked"
    return changes + ([axes] if _words(saved, lists) != _words(asked, lists) else [])


def _words(options: Mapping[str, Any], lists: Sequence[str]) -> str:
    return " ".join(flag_of(name) for name in lists if options.get(name)) or "none"


def earlier_cells(folder: Path, plan: Grid) -> list[str]:
    """Name the cells that earlier commands asked for and this one does not; none after `--overwrite`."""
    if plan.overwrite or not (folder / "args.json").exists():
        return []
    asked = {cell.name for cell in plan.cells}
    return [name for name in read_json(folder / "args.json").get("cells", []) if name not in asked]


def earlier_rows(folder: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows of earlier cells, for `write_grid`, with the `notes` of their states.

    A cell that cannot be read is left out.
    """
    rows = []
    for name in names:
        with contextlib.suppress(Refused):
            rows.append(_row(name, read_json(folder / name / "args.json"), state_of(folder / name)))
    return rows


def write_grid(
    folder: Path, cells: Sequence[Cell], states: Mapping[str, State], earlier: Sequence[dict[str, Any]] = ()
) -> pd.DataFrame:
    """Write `grid.csv`: the cells asked for, then the `earlier_rows`.

    Columns: `cell`, the varying options, those of the summaries (see `Utils.runs.summary_keys`), `reason`.
    """
    rows = [*(_row(cell.name, cell.options.record(), states[cell.name]) for cell in cells), *earlier]
    axes = columns(cells)
    for key in (k for k in summary_keys.KEYS if k.twin and k.name in axes):  # the column of that name holds the value asked for
        for row in rows:
            row["summary"][key.twin] = row["summary"].get(key.name)
    keys = dict.fromkeys(k for row in rows for k in row["summary"] if k not in (*axes, "reason"))
    table = [
        {"cell": row["cell"]}
        | {axis: row["value"](axis) for axis in axes}
        | {key: row["summary"].get(key) for key in keys}
        | {"reason": row["reason"]}
        for row in rows
    ]
    frame = pd.DataFrame({name: _column([row[name] for row in table]) for name in table[0]} if table else {})
    save_table(folder, frame)
    return frame


def _column(values: list[Any]) -> Any:
    """Make a column of a table; a missing number must not turn the others' whole numbers into floats."""
    there = [v for v in values if v is not None and v == v]
    if len(there) < len(values) and there and all(isinstance(v, int) and not isinstance(v, bool) for v in there):
        return pd.array([v if v is not None and v == v else pd.NA for v in values], dtype="Int64")
    return values


def varying(cells: Sequence[Cell]) -> list[str]:
    """List the options that vary, in the order of the flags; the part of an assignment comes first."""
    found = {axis for cell in cells for axis in cell.values}
    return ["part"] * ("part" in found) + [o.axis for o in table() if o.axis in found]


def columns(cells: Sequence[Cell]) -> list[str]:
    """List the options that are columns of `grid.csv`: those that vary.

    In an assignment, those that differ between its parts are columns too.
    """
    named = varying(cells)
    if "part" not in named:
        return named
    apart = ("experiment", "expid", "density", "sparsity", *incidental())  # compression stands for density and sparsity
    apart += tuple(filter(None, ABLATIONS.values())) if "ablate" in named else ()
    chosen = {"model", "dataset", *named}
    for name in (o.name for o in table() if not o.axis and o.name not in apart):
        if len({repr(cell.options.record().get(name)) for cell in cells}) > 1:
            chosen.add(name)
    return ["part", *(name for name in dict.fromkeys(o.axis or o.name for o in table()) if name in chosen)]


def _row(name: str, options: Mapping[str, Any], state: State) -> dict[str, Any]:
    def value(axis: str) -> Any:
        if axis == "ablate":
            return next((word for word, option in ABLATIONS.items() if option and options.get(option)), "none")
        if axis == "part":
            return name.partition("part=")[2].partition(",")[0]
        found = options.get(axis)
        return " ".join(map(str, found)) if isinstance(found, list) else found

    numbers = {"status": state.status} | summary_keys.grid_columns(state.summary) | {"status": state.status}
    return {"cell": name, "value": value, "summary": numbers, "reason": state.reason, "notes": state.notes}
