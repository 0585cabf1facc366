"""The row `grid`: one command of this project against a shell loop of textbook runs, timed as whole processes.

The command also runs a dense baseline cell and saves every run, which the loop does not. It trains the dense network of magnitude
pruning once for all its compressions. Each turn of the loop starts from the beginning, as separate programs do.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from Utils.grid.workers import cores

PROJECT = Path(__file__).resolve().parent.parent
TARGET = 10
TITLE = (
    "the grid rand, mag, snip, grasp, synflow x compressions 0.2, 0.5, 1 on MNIST `fc`, mag with 5 dense epochs, "
    "2 post epochs, against a shell loop of single runs"
)


class Work(NamedTuple):
    """The results of a cell: weights kept in each layer, evaluations before and after pruning, the last top-1 accuracy."""

    kept: tuple[int, ...]
    evaluations: tuple[int, int]
    top1: float


@dataclass(frozen=True)
class Plan:
    """The cells that both sides run."""

    pruners: tuple[str, ...] = ("rand", "mag", "snip", "grasp", "synflow")
    compressions: tuple[float, ...] = (0.2, 0.5, 1.0)
    post_epochs: int = 2
    mag_epochs: int = 5

    def command(self, folder: str, jobs: int) -> list[str]:
        """Return the words of this project's one command; results go to `folder`."""
        words = ["main.py", "--pruner-list", *self.pruners, "--compression-list", *(f"{c:g}" for c in self.compressions)]
        words += ["--post-epochs", str(self.post_epochs)]
        words += ["--for", f"mag:pre-epochs={self.mag_epochs}"] if "mag" in self.pruners else []
        return [*words, "--jobs", str(jobs), "--result-dir", folder]

    def loop(self) -> dict[str, list[str]]:
        """Return the words of each textbook run, by cell."""
        runs = {}
        for pruner in self.pruners:
            for compression in self.compressions:
                words = ["-m", "benchmarks.single", "--pruner", pruner, "--compression", f"{compression:g}"]
                words += ["--post-epochs", str(self.post_epochs)]
                words += ["--pre-epochs", str(self.mag_epochs)] if pruner == "mag" else []
                runs[f"{pruner} {compression:g}"] = words
        return runs


def run_command(plan: Plan) -> tuple[float, dict[str, Work]]:
    """Run this project's command in a fresh folder with as many jobs as cores; return its seconds and its cells' results."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, _ = timed(plan.command(folder, cores()))
        return seconds, saved_work(Path(folder))


def run_loop(plan: Plan) -> tuple[float, dict[str, Work]]:
    """Run the textbook programs one after another; return their seconds together and their results."""
    total, work = 0.0, {}
    for name, words in plan.loop().items():
        seconds, printed = timed(words)
        total += seconds
        work[name] = printed_work(printed)
        print(f"  textbook, {name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return total, work


def saved_work(folder: Path) -> dict[str, Work]:
    """Read the results of the cells in a result folder, without the dense baseline."""
    work = {}
    for summary in (json.loads(path.read_text()) for path in folder.glob("singleshot/*/*/summary.json")):
        options = summary["options"]
        cell = folder / "singleshot" / summary["expid"]
        kept = tuple(int(row["kept"]) for row in _table(cell / "compression.csv") if row["prunable"] == "True")
        evaluations = len(_table(cell / "pre-train.csv")), len(_table(cell / "post-train.csv"))
        if options["pruner"] != "dense":
            work[f"{options['pruner']} {options['compression']:g}"] = Work(kept, evaluations, summary["top1_last"])
    return work


def printed_work(text: str) -> Work:
    """Read the results of a textbook run from its output."""
    results = json.loads(text.splitlines()[-1])
    return Work(tuple(results["kept"]), tuple(results["evaluations"]), results["top1"])


def measure(repeats: int, plan: Plan | None = None) -> dict[str, Any]:
    """Return the row's entry in `results.json`: `repeats` turns of both sides, after a warm-up that reads their files."""
    plan = plan or Plan()
    short = Plan(("rand",), (1.0,), 0)
    timed(["main.py", "--pruner", "rand", "--compression", "1", "--post-epochs", "0", "--no-save"])
    timed(short.loop()["rand 1"])
    seconds: dict[str, list[float]] = {"ours": [], "textbook": []}
    work: dict[str, dict[str, Work]] = {}
    for _ in range(repeats):
        for party, run in (("ours", run_command), ("textbook", run_loop)):
            taken, work[party] = run(plan)
            seconds[party].append(taken)
            print(f"  {party}, {len(work[party])} cells: {taken:.1f} s", file=sys.stderr, flush=True)
    medians = {party: statistics.median(s) for party, s in seconds.items()}
    row = {"title": TITLE, "unit": "s", "target": TARGET, "medians": medians, "seconds": seconds}
    return row | {"repeats": repeats, "jobs": cores()} | compare(work["ours"], work["textbook"])


def compare(ours: dict[str, Work], theirs: dict[str, Work]) -> dict[str, Any]:
    """Tell whether both sides did the same work, with each cell's size and accuracies."""
    same_cells = ours.keys() == theirs.keys()
    both = [(ours[name], theirs[name]) for name in theirs if name in ours]
    return {
        "same_kept_counts": same_cells and all(sum(a.kept) == sum(b.kept) for a, b in both),
        "same_evaluations": same_cells and all(a.evaluations == b.evaluations for a, b in both),
        "cells": {
            name: {"kept": sum(work.kept), "top1": work.top1, "top1_ours": ours[name].top1 if name in ours else None}
            for name, work in theirs.items()
        },
    }


def timed(words: Sequence[str]) -> tuple[float, str]:
    """Run a Python process on the CPU, in the project's folder; return its seconds and its output."""
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=PROJECT, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"python {' '.join(words)} ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def _table(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
