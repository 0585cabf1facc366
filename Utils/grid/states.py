"""Where the cells of a grid stand, read off their folders, and `grid.csv`, one row each."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.errors import Refused
from Utils.files import atomic, is_locked
from Utils.grid.cells import Cell
from Utils.options import ABLATIONS, table
from Utils.results import read_json
from Utils.settle import identity


@dataclass(frozen=True)
class State:
    """`status` is pending, running, done or failed; `reason` says why it failed; `summary` is that of a run that ended."""

    status: str
    reason: str = ""
    summary: Mapping[str, Any] = field(default_factory=dict)


def state_of(folder: Path) -> State:
    """The state of the run in `folder`; running is what a living process has locked."""
    if is_locked(folder / ".lock"):
        return State("running")
    if not (folder / "summary.json").exists():
        return State("pending")
    try:
        summary = read_json(folder / "summary.json")
    except Refused as error:
        return State("failed", str(error))
    done = summary.get("status") == "done"
    return State("done" if done else "failed", "" if done else str(summary.get("reason", "")), summary)


def check_grid_folder(folder: Path, plan: argparse.Namespace) -> None:
    """Refuse a folder that holds something else: a single run, other axes, or another recipe. The lists may have grown."""
    if not (folder / "args.json").exists() or plan.overwrite:
        return
    saved = read_json(folder / "args.json")
    lists = [o.dest for o in table() if o.axis]
    asked = {k: v for k, v in identity(plan).items() if k not in (*lists, "for", "cells")}
    differing = [k for k in asked if saved.get(k, asked) != asked[k]]
    axes = [f"lists {_words(saved, lists)} there, {_words(vars(plan), lists)} asked"]
    changes = [f"{k} {saved.get(k)!r} there, {asked[k]!r} asked" for k in differing]
    changes += axes if _words(saved, lists) != _words(vars(plan), lists) else []
    if changes:
        raise Refused(f"{folder} holds another grid ({', '.join(changes)}): choose another --expid or --overwrite")


def _words(options: Mapping[str, Any], lists: Sequence[str]) -> str:
    return " ".join(f"--{name.replace('_', '-')}" for name in lists if options.get(name)) or "none"


def write_grid(folder: Path, cells: Iterable[Cell], states: Mapping[str, State]) -> pd.DataFrame:
    """Write `grid.csv`: the cells asked for, then those that earlier commands left in the folder.

    Columns: `cell`, the varying options, the scalar keys of the summaries, `reason`.
    """
    cells = list(cells)
    rows = [_row(cell.name, vars(cell.options), states[cell.name]) for cell in cells]
    asked = {cell.name for cell in cells}
    for other in sorted(folder.glob("*/args.json")):
        name = other.parent.name
        if name not in asked:
            rows.append(_row(name, read_json(other), state_of(other.parent)))
    axes = varying(cells)
    if "density" in axes:  # the column of that name holds what was asked
        for row in rows:
            row["summary"]["density_kept"] = row["summary"].get("density")
    keys = dict.fromkeys(k for row in rows for k in row["summary"] if k not in (*axes, "reason"))
    frame = pd.DataFrame(
        {"cell": row["cell"]}
        | {axis: row["value"](axis) for axis in axes}
        | {key: row["summary"].get(key) for key in keys}
        | {"reason": row["reason"]}
        for row in rows
    )
    with atomic(folder / "grid.csv") as temporary:
        frame.to_csv(temporary, index=False)
    return frame


def varying(cells: Sequence[Cell]) -> list[str]:
    """The options that vary, in the order of the flags."""
    found = {axis for cell in cells for axis in cell.values}
    return [o.axis for o in table() if o.axis in found]


def _row(name: str, options: Mapping[str, Any], state: State) -> dict[str, Any]:
    def value(axis: str) -> Any:
        if axis == "ablate":
            return next((word for word, option in ABLATIONS.items() if option and options.get(option)), "none")
        return options.get(axis)

    scalars = {k: v for k, v in state.summary.items() if not isinstance(v, dict | list)}
    scalars = {"status": state.status} | scalars | {"status": state.status}
    return {"cell": name, "value": value, "summary": scalars, "reason": state.reason}
