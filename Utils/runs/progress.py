"""The progress of a run, read from its folder without writing: epochs, the last accuracy, seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.base.csv_files import read_csv
from Utils.options.table import table
from Utils.options.types import Options
from Utils.runs.validate import is_number

PHASES = ("pre-train", "post-train")


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes:
        pre: epochs trained before pruning.
        post: epochs trained after pruning.
        top1: the last accuracy in percent, if any.
        seconds: the time of training these epochs, without evaluation.
    """

    pre: int = 0
    post: int = 0
    top1: float | None = None
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """All epochs so far."""
        return self.pre + self.post


def progress_of(folder: Path) -> Progress:
    """Read the progress of the run in `folder`; a missing or unreadable table counts as empty."""
    rows = {phase: _rows(folder / f"{phase}.csv") for phase in PHASES}
    trained = {phase: table[table["epoch"] > 0] for phase, table in rows.items()}
    last = next((rows[phase]["top1_accuracy"].iloc[-1] for phase in reversed(PHASES) if len(rows[phase])), None)
    seconds = sum(float(table["seconds"].sum()) for table in trained.values())
    return Progress(len(trained["pre-train"]), len(trained["post-train"]), last, seconds)


def _rows(file: Path) -> pd.DataFrame:
    names = ["epoch", "top1_accuracy", "seconds"]
    if file.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError):
            return read_csv(file)[names].apply(pd.to_numeric, errors="raise").dropna()
    return pd.DataFrame(columns=names, dtype=float)


def work_of(options: Options | Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a run's time depends on; a grid's `args.json` keeps them for cells that have not begun."""
    given = options if isinstance(options, Mapping) else options.record()
    names = [*(option.name for option in table() if option.paces), "level"]
    return {name: given[name] for name in names if name in given}


def epochs_of(work: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the epochs that a run of this `work` trains before and after pruning; None if `work` lacks the numbers.

    Multishot trains `--pre-epochs` in each level, from `--rewind-epoch` on. Without rewinding, it trains the dense network once
    and `--post-epochs` after each pruning. Its last training counts as that after pruning, as its rows are in post-train.csv.
    """
    usual = {"pre_epochs": None, "post_epochs": None, "level": 1, "rewind_epoch": 0}
    numbers = [work.get(name, value) for name, value in usual.items()]
    if not all(isinstance(number, int) and is_number(number) for number in numbers):
        return None
    pre, post, levels, kept = numbers
    if work.get("no_rewind"):
        return pre + (levels - 1) * post, post
    return pre + (levels - 1) * (pre - kept), post - kept
