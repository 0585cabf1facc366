"""The levels of multishot: their densities and trainings, and the tables of what each came to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

from Utils.measure.counting import totals
from Utils.options.types import Options
from Utils.training.early_stopping import best_row, kept_row, validation_summary
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Diverged


@dataclass(frozen=True)
class Level:
    """A level: a pruning, and the training after it.

    Attributes:
        number: its number, from 1.
        from_density: the density before the pruning.
        density: the density after it.
        phase: the phase of the training.
        order: the name of the training's data order.
        epochs: the last epoch of the training.
        last: whether no other level follows.
    """

    number: int
    from_density: float
    density: float
    phase: str
    order: str
    epochs: int
    last: bool


def levels_of(options: Options, density_at_start: float) -> list[Level]:
    """Return the levels of a run, on the way from the density of its network at the start to `--density`.

    Level l of n prunes to s * (d / s)^(l / n), where s is the density at the start and d the smaller one of s and `--density`.
    """
    count, target = options.level, min(options.density, density_at_start)
    densities = [*(density_at_start * (target / density_at_start) ** (n / count) for n in range(count)), target]
    return [Level(n, densities[n - 1], densities[n], *_training(options, n), n == count) for n in range(1, count + 1)]


def _training(options: Options, number: int) -> tuple[str, str, int]:
    """Return phase, data order and last epoch of the training of a level: that of the dense network again, or a fine-tuning."""
    last = number == options.level
    if last or options.no_rewind:
        return "post_train", "post_train" if last else f"fine-tune-{number}", options.post_epochs
    return "pre_train", "pre_train", options.pre_epochs


def rows_by_level(trained: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put the rows of all trainings one below the other; `level` is that of the pruning before, 0 for the dense network."""
    return pd.concat([rows.assign(level=level) for level, rows in enumerate(trained)], ignore_index=True)


@contextmanager
def rows_before(trained: Sequence[pd.DataFrame]) -> Iterator[None]:
    """Put the rows of the finished trainings before those of one that diverges in the block."""
    try:
        yield
    except Diverged as error:
        error.rows = pd.concat([rows_by_level(trained), error.rows.assign(level=len(trained))])
        raise


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
    chosen = {key: validated[key] for key in ("val_top1_last", "kept_epoch") if key in validated}
    return {"epochs": int(rows["epoch"].iloc[-1])} | ends | {"top1_best": best_row(rows)["top1_accuracy"]} | chosen
