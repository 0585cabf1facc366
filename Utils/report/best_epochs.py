"""Best epochs of runs of earlier versions, which counted the row before training as an epoch: chosen anew from the saved rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.base.csv_files import read_csv
from Utils.training.early_stopping import best_row


def trained_best(folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of the run in `folder` with `top1_best` and `best_epoch` of a trained epoch, if any was trained."""
    best, rows = summary.get("best_epoch"), None
    if best is not None and best <= (summary.get("options") or {}).get("rewind_epoch", 0):
        rows = _rows(folder / "post-train.csv")
    if rows is None or len(rows) < 2 or rows["epoch"].iloc[0] != best:
        return dict(summary)
    chosen = best_row(rows)
    return {**summary, "top1_best": float(chosen["top1_accuracy"]), "best_epoch": int(chosen["epoch"])}


def levels_with_trained_best(folder: Path, levels: pd.DataFrame) -> pd.DataFrame:
    """Return the table `levels.csv` of the run in `folder` with `top1_best` of a trained epoch in every row."""
    before, last = _rows(folder / "pre-train.csv"), _rows(folder / "post-train.csv")
    if before is None or last is None or "level" not in before or not {"level", "top1_best"} <= {*levels}:
        return levels
    rows = [before[before["level"] == level] for level in levels["level"]]
    best = [best_row(own if len(own) else last)["top1_accuracy"] for own in rows]
    return levels.assign(top1_best=best)


def _rows(file: Path) -> pd.DataFrame | None:
    """Read the rows of a training; None if the file is missing or cannot be read."""
    try:
        rows = read_csv(file)
    except (ValueError, OSError):
        return None
    return rows if len(rows) and {"epoch", "top1_accuracy"} <= {*rows} else None
