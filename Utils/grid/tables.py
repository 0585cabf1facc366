"""The tables that a grid prints: its cells, means over seeds, and the change by each ablation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.base.errors import RunFailed
from Utils.grid.grid_folder import State, varying, write_grid
from Utils.options.types import Grid
from Utils.runs.manifest import OwnFiles
from Utils.runs.run_files import alone_in
from Utils.runs.summary_keys import flags, printed_cells

ACCURACY = "top1_last"


def print_cells(frame: pd.DataFrame) -> None:
    """Print every cell in full; the flags that are set stand in the last column."""
    known = [key for key in printed_cells() if key.name in frame and frame[key.name].notna().any()]
    columns = ["cell", *(key.name for key in known if not key.if_any or (frame[key.name].fillna(0) != 0).any())]
    found = [flag.name for flag in flags() if flag.name in frame]
    marks = frame[found].apply(lambda row: " ".join(f for f in found if row[f] is True or row[f] == 1), axis=1) if found else ""
    print(frame[columns].assign(flags=marks).to_string(index=False, na_rep="", float_format="%.2f"))


def print_means(frame: pd.DataFrame, axes: Sequence[str]) -> None:
    """Print mean, standard deviation and number of the last accuracies over seeds, if seeds vary."""
    others = [a for a in axes if a != "seed"]
    if "seed" not in axes or not others or ACCURACY not in frame or not frame[ACCURACY].notna().any():
        return
    means = frame.groupby(others, dropna=False, sort=False)[ACCURACY].agg(["mean", "std", "count"])
    print("Last top-1 accuracy (%) over seeds:\n", means.to_string(float_format="%.2f", na_rep=""))


def write_ablation(own: OwnFiles, frame: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame | None:
    """Write and print `ablation.csv`: per pruner and setting, the change by each ablation, compared seed by seed.

    Columns: the varying options except the seed, `top1_last` (mean), `delta` and `delta_std` (mean and deviation over seeds of
    the difference to the cell without ablation), `n` (seeds). The result is None if there are no cells to compare.
    """
    if "ablate" not in axes or ACCURACY not in frame:
        return None
    others = [a for a in axes if a not in ("ablate", "seed")]
    pairs = [a for a in axes if a != "ablate"]
    cells = frame[frame["status"] == "done"]
    plain = cells.loc[cells["ablate"] == "none", [*pairs, ACCURACY]].rename(columns={ACCURACY: "plain"})
    joined = cells.merge(plain, on=pairs) if pairs else cells.merge(plain, how="cross")
    if "pruner" in joined:
        joined = joined[joined["pruner"] != DENSE]
    if joined.empty:
        return None
    joined["delta"] = joined[ACCURACY] - joined["plain"]
    groups = joined.groupby([*others, "ablate"], sort=False, dropna=False)
    result = groups.agg(top1_last=(ACCURACY, "mean"), delta=("delta", "mean"), delta_std=("delta", "std"), n=("delta", "size"))
    result = result.reset_index()
    own.write_table("ablation.csv", result)
    shown = result.to_string(index=False, float_format="%.2f", na_rep="")
    print("Ablations, change of the last top-1 accuracy (points):\n", shown)
    return result


def save_tables(plan: Grid, folder: Path, states: Mapping[str, State], earlier: Sequence[dict[str, Any]]) -> None:
    """Write `grid.csv` and `ablation.csv`, print them, and name the cells that failed.

    Raises:
        RunFailed: some cells failed.
    """
    frame = write_grid(folder, plan.cells, states, earlier)
    axes = varying(plan.cells)
    print_cells(frame)
    print_means(frame, axes)
    with alone_in(folder, -1) as own:
        write_ablation(own, frame, axes)
    counts = Counter(state.status for state in states.values())
    print(f"{folder / 'grid.csv'}: " + ", ".join(f"{counts[s]} {s}" for s in ("done", "running", "pending", "failed")))
    failed = {name: state for name, state in states.items() if state.status == "failed"}
    for name, state in failed.items():
        print(f"FAILED {name}: {state.reason}")
    if failed:
        raise failed_cells(list(failed), len(states))


def failed_cells(names: Sequence[str], count: int) -> RunFailed:
    """Return the error of a grid of `count` cells in which those of these `names` failed; it has the first three names."""
    first = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
    return RunFailed(f"{len(names)} of {count} cells failed: {first}")
