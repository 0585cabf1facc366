"""Task 4: memory and training time with and without mixed precision, and the ratio of paired times beside them."""

from __future__ import annotations

import pandas as pd

from Utils.report import findings
from Utils.report.assignment.subjects import Subject, Subjects
from Utils.report.assignment.words import method_name, several
from Utils.report.blocks import Block, Note, Table
from Utils.report.captions import sentences
from Utils.report.pivot import JOIN
from Utils.report.sections.precision import PAIRS, precision_rows
from Utils.report.times import load_of, training_apart

METHOD = "rand"
NOT_MEASURED = "not measured"
COLUMNS = {
    "memory_with": "Peak Mem (MB) w/ AMP",
    "seconds_with": "Training Time (s) w/ AMP",
    "memory_without": "Peak Mem (MB) wo/ AMP",
    "seconds_without": "Training Time (s) wo/ AMP",
}
PAIRED = "Training step, AMP over FP32"


def amp(subjects: Subjects) -> list[Block]:
    """Make the blocks of the task."""
    main = subjects.main
    if main is None or main.mixed is None:
        return [Note("There are no runs with AMP beside those without it.")]
    rows = precision_rows(main.mixed, main.group)
    methods = [m for m in (METHOD, *main.mixed.methods) if any(row["pruner"] == m for row in rows)]
    own = sorted((row for row in rows if methods and row["pruner"] == methods[0]), key=lambda row: row["compression"])
    if not own:
        return [Note("There are no runs with AMP beside those without it.")]
    text = pd.DataFrame([_row(row) for row in own])
    table = Table("task-4-amp", _caption(main, methods[0]), text, pd.DataFrame(own))
    runs = [run for run in (*main.mixed.all, *main.group.all) if run["pruner"] == methods[0]]
    return [table, *sentences([*findings.precision(own), *training_apart(runs)])]


def _row(row: dict[str, object]) -> dict[str, str]:
    words = {"Compression": f"{row['compression']:.6g}"}
    for name, title in COLUMNS.items():
        value = row.get(name)
        words[title] = NOT_MEASURED if value is None else f"{value:.1f}"
    ratio = (
        f"{row['train_ratio']:.2f} ({row['train_q1']:.2f}{JOIN}to{JOIN}{row['train_q3']:.2f})"
        if row["n_paired"]
        else NOT_MEASURED
    )
    return words | {PAIRED: ratio}


def _caption(main: Subject, method: str) -> str:
    runs = [run for run in (*main.mixed.all, *main.group.all) if run.done and run["pruner"] == method]
    mixed = [str(run.summary.get("precision")) for run in runs if run.mixed]
    full = [str(run.summary.get("precision")) for run in runs if not run.mixed]
    of = [str(run.summary.get("peak_memory_of") or "memory") for run in runs]
    paired = any(run.summary.get(PAIRS) for run in runs)
    turns = (
        f" {PAIRED}: time of one step on the same network and batch, in turn in one process (median, in brackets the quartiles)."
        if paired else ""
    )  # fmt: skip
    load = f" {said}" if (said := load_of(runs, PAIRS)) else ""
    return (
        f"Peak memory while training ({several(of, 'or')}, 1 MB = 10^6 bytes) and training time without evaluation of "
        f"{main.name}, pruned by {method_name(method)}, with AMP ({several(mixed, 'or')}) and without ({several(full, 'or')}). "
        f"The seconds are of different runs and depend on what else the machine did; the ratio compares times.{turns}{load}"
    )
