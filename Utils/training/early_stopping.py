"""Early stopping and the choice of a phase's best state, by validation accuracy alone; the test set plays no part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

VALIDATION = ("val_loss", "val_top1")  # the columns of the held-out images, after all others


def best_index(accuracies: Sequence[float]) -> int:
    """Return the index of the highest of `accuracies` (percent, one per row of a phase); of equal ones the first.

    The first row is that of the network before training. It counts only if nothing was trained.
    """
    return max(range(min(1, len(accuracies) - 1), len(accuracies)), key=lambda i: (accuracies[i], -i))


def best_row(rows: pd.DataFrame) -> pd.Series:
    """Return the row of a phase's best epoch: by validation accuracy, or by test accuracy if no images are held out."""
    return rows.iloc[best_index(rows["val_top1" if "val_top1" in rows else "top1_accuracy"].tolist())]


def keeps_untrained(state: Mapping[str, Any], column: int) -> bool:
    """Tell whether the state of a half-finished phase keeps the network before training as its best one.

    An earlier version counted the first row as an epoch, and wrote no `trained`. `column` is that of the validation accuracy.
    """
    accuracies = [row[column] for row in state["rows"]]
    return "trained" not in state and len(accuracies) > 1 and accuracies[0] >= max(accuracies)


def is_over(accuracies: Sequence[float], patience: int | None) -> bool:
    """Tell whether the last `patience` epochs brought no improvement."""
    return bool(patience) and len(accuracies) > 0 and len(accuracies) - 1 - best_index(accuracies) >= patience


def kept_row(rows: pd.DataFrame, patience: int | None, kept: int | None = None) -> pd.Series:
    """Return the row of a phase's final state: with `--patience` the best by validation accuracy, else the last.

    `kept` is the epoch of that state, if it is recorded.
    """
    if patience and kept is not None:
        return rows.loc[rows["epoch"] == kept].iloc[0]
    return best_row(rows) if patience else rows.iloc[-1]


def validation_summary(rows: pd.DataFrame, patience: int | None) -> dict[str, Any]:
    """Return the validation results of the state that a phase ends with; empty if no images are held out.

    `kept_epoch` is the epoch of that state. `epochs_trained` also counts the epochs trained after it.
    """
    if "val_top1" not in rows:
        return {}
    kept = kept_row(rows, patience)
    found = {"val_loss_last": float(kept["val_loss"]), "val_top1_last": float(kept["val_top1"])}
    return found | {"kept_epoch": int(kept["epoch"]), "epochs_trained": int(rows["epoch"].iloc[-1])}
