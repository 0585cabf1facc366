"""The row `stack`: a grid of 16 cells in two processes, with cells trained at once and without, timed as whole commands."""

from __future__ import annotations

import csv
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.grid import timed

WORDS = ["main.py", "--pruner-list", "rand", "snip", "synflow", "--compression", "1", "--seed-list", "1", "2", "3", "4",
         "--post-epochs", "5", "--jobs", "2", "--expid", "g"]  # fmt: skip
SIDES = {"stacked": ["--stack", "8"], "one by one": ["--stack", "1"]}
CELLS, TARGET = 16, 1.3


def measure(repeats: int) -> dict[str, Any]:
    """Return the row's entry in `results.json`: the sides in turn, in the order A B B A, `repeats` times."""
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    work: dict[str, Any] = {}
    for _ in range(repeats):
        for side in (*SIDES, *reversed(SIDES)):
            with tempfile.TemporaryDirectory() as folder:
                taken, _ = timed([*WORDS, *SIDES[side], "--result-dir", folder])
                work[side] = _accuracies(Path(folder, "singleshot/g/grid.csv"))
            seconds[side].append(taken / CELLS)
            print(f"  {side}: {taken:.1f} s for {CELLS} cells", file=sys.stderr, flush=True)
    medians = {side: statistics.median(s) for side, s in seconds.items()}
    return {"medians": medians, "seconds": seconds, "target": TARGET, "same_work": work["stacked"] == work["one by one"]}


def _accuracies(table: Path) -> dict[str, str]:
    with open(table, newline="", encoding="utf-8") as file:
        return {row["cell"]: row["top1_last"] for row in csv.DictReader(file)}


def text(row: dict[str, Any]) -> str:
    """Return the part of `results.md` on the row."""
    stacked, alone = row["medians"]["stacked"], row["medians"]["one by one"]
    return (
        f"## Cells at once\n`python {' '.join(WORDS)} --stack 8` against `--stack 1`: {stacked:.2f} s and {alone:.2f} s a cell, "
        f"{alone / stacked:.2f} times as fast (asked: {row['target']}). Whole commands in the order A B B A, "
        f"{row['machine']}. Made by `python -m benchmarks --only stack`.\n"
    )
