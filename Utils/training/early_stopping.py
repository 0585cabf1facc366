"""Early stopping and the choice of a phase's best state, by validation accuracy alone; the test set plays no part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

VALIDATION = ("val_loss", "val_top1")  # the columns of the held-out images, after all others


def best_index(accuracies: Sequence[float]) -> int:
    """Return the index of the highest of `accuracies` (percent, one per row of a phase); of equal ones the first."""
    return max(range(len(accuracies)), key=lambda i: (accuracies[i], -i))


def is_over(accuracies: Sequence[float], patience: int | None) -> bool:
    """Tell whether the last `patience` epochs brought no improvement."""
    return bool(patience) and len(accuracies) > 0 and len(accuracies) - 1 - best_index(accuracies) >= patience


def kept_row(rows: pd.DataFrame, patience: int | None) -> pd.Series:
    """Return the row of a phase's final state: with `--patience` the best by validation accuracy, else the last."""
    return rows.iloc[best_index(rows["val_top1"].tolist()) if patience else -1]


def validation_summary(rows: pd.DataFrame, patience: int | None) -> dict[str, Any]:
    """Return the validation results of the state that a phase ends with; empty if no images are held out.

    `kept_epoch` is the epoch of that state. `epochs_trained` also counts the epochs trained after it.
    """
    if "val_top1" not in rows:
        return {}
    kept = kept_row(rows, patience)
    found = {"val_loss_last": float(kept["val_loss"]), "val_top1_last": float(kept["val_top1"])}
    return found | {"kept_epoch": int(kept["epoch"]), "epochs_trained": int(rows["epoch"].iloc[-1])}
