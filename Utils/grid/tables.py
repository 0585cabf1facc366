"""What a grid prints: its cells, means over seeds, and what ablations change."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from Utils.runs.manifest import OwnFiles

SHOWN = ("status", "params_kept", "flops_kept", "flops_total", "top1_last", "top1_best", "top5_last")
ACCURACY = "top1_last"


def print_cells(frame: pd.DataFrame) -> None:
    """Every cell, never shortened; flags stand in the last column."""
    columns = ["cell", *(c for c in SHOWN if c in frame and frame[c].notna().any())]
    flags = [f for f in ("collapsed", "untrained") if f in frame]
    marks = frame[flags].apply(lambda row: " ".join(f for f in flags if row[f] is True or row[f] == 1), axis=1) if flags else ""
    print(frame[columns].assign(flags=marks).to_string(index=False, na_rep="", float_format="%.2f"))


def print_means(frame: pd.DataFrame, axes: Sequence[str]) -> None:
    """Mean, standard deviation and number of the last accuracies over seeds, where seeds vary."""
    others = [a for a in axes if a != "seed"]
    if "seed" not in axes or not others or ACCURACY not in frame or not frame[ACCURACY].notna().any():
        return
    means = frame.groupby(others, dropna=False, sort=False)[ACCURACY].agg(["mean", "std", "count"])
    print("Last top-1 accuracy (%) over seeds:\n", means.to_string(float_format="%.2f", na_rep=""))


def write_ablation(own: OwnFiles, frame: pd.DataFrame, axes: Sequence[str]) -> pd.DataFrame | None:
    """Write and print `ablation.csv`: per pruner and setting, what each ablation changes, seed by seed.

    Columns: the varying options but the seed, `top1_last` (mean), `delta` and `delta_std` (mean and deviation, over seeds, of
    the difference to the cell that is not ablated), `n` (seeds). None where there is nothing to compare.
    """
    if "ablate" not in axes or ACCURACY not in frame:
        return None
    others = [a for a in axes if a not in ("ablate", "seed")]
    pairs = [a for a in axes if a != "ablate"]
    cells = frame[frame["status"] == "done"]
    plain = cells.loc[cells["ablate"] == "none", [*pairs, ACCURACY]].rename(columns={ACCURACY: "plain"})
    joined = cells.merge(plain, on=pairs) if pairs else cells.merge(plain, how="cross")
    if "pruner" in joined:
        joined = joined[joined["pruner"] != "dense"]
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
