"""Early stopping and the choice of a phase's best state, by validation accuracy alone: the test set chooses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

VALIDATION = ("val_loss", "val_top1")  # the columns of what was held out, after all others


def best_index(accuracies: Sequence[float]) -> int:
    """The place of the highest of `accuracies` (percent, one per row of a phase), the first of several."""
    return max(range(len(accuracies)), key=lambda i: (accuracies[i], -i))


def is_over(accuracies: Sequence[float], patience: int | None) -> bool:
    """Whether the last `patience` epochs brought nothing better than what was there before them."""
    return bool(patience) and len(accuracies) > 0 and len(accuracies) - 1 - best_index(accuracies) >= patience


def kept_row(rows: pd.DataFrame, patience: int | None) -> pd.Series:
    """The row of the state that a phase leaves behind: with `--patience` the best by validation accuracy, else the last."""
    return rows.iloc[best_index(rows["val_top1"].tolist()) if patience else -1]


def validation_summary(rows: pd.DataFrame, patience: int | None) -> dict[str, Any]:
    """What the validation images say of the state that a phase leaves behind; empty where none are held out.

    `kept_epoch` is that state's, `epochs_trained` counts those trained after it too.
    """
    if "val_top1" not in rows:
        return {}
    kept = kept_row(rows, patience)
    found = {"val_loss_last": float(kept["val_loss"]), "val_top1_last": float(kept["val_top1"])}
    return found | {"kept_epoch": int(kept["epoch"]), "epochs_trained": int(rows["epoch"].iloc[-1])}
