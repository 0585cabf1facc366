"""The tables of multishot: the size of the network at each level, and the accuracy that it reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from Utils.measure.counting import totals
from Utils.training.early_stopping import kept_row, validation_summary
from Utils.training.masked_network import MaskedNetwork


def rows_by_level(trained: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the rows of all trainings one below the other; `level` is that of the pruning before, 0 for the dense network."""
    return pd.concat([rows.assign(level=level) for level, rows in enumerate(trained)], ignore_index=True)


def counts_of_level(network: MaskedNetwork, level: int, density: float, table: pd.DataFrame) -> dict[str, float]:
    """Count the parameters, FLOPs and MACs after the pruning of `level` to `density`, from its compression table."""
    kept = int(table.loc[table["prunable"], "kept"].sum())
    counts = {name: count for name, count in totals(table).items() if not name.endswith("_total")}
    return {"level": level, "density_asked": density, "density": kept / network.size, **counts}


def levels_table(counts: Sequence[Mapping[str, float]], trained: Sequence[pd.DataFrame], patience: int | None) -> pd.DataFrame:
    """Make `levels.csv`: a row for each level, the dense network first, with its counts and the results of its training."""
    pairs = zip(counts, trained, strict=True)
    return pd.DataFrame([{**left, **_outcome(rows, patience)} for left, rows in pairs])


def _outcome(rows: pd.DataFrame, patience: int | None) -> dict[str, float]:
    """Sum up the training of one level's network; `epochs` is its last epoch, `top1_best` is defined as in the summary."""
    last, validated = kept_row(rows, patience), validation_summary(rows, patience)
    ends = {"test_loss_last": last["test_loss"], "top1_last": last["top1_accuracy"], "top5_last": last["top5_accuracy"]}
    best = rows.loc[rows["val_top1" if validated else "top1_accuracy"].idxmax(), "top1_accuracy"]
    chosen = {key: validated[key] for key in ("val_top1_last", "kept_epoch") if key in validated}
    return {"epochs": int(rows["epoch"].iloc[-1])} | ends | {"top1_best": best} | chosen
