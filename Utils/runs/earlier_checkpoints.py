"""Checkpoints of earlier versions, converted to those of `stages.py`, so that their unfinished runs can continue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from Utils.base.csv_files import read_named
from Utils.compute.processes import decided

TRAINING = ("rows", "model", "optimizer", "scheduler", "scaler", "best", "updates")  # see `Training.state`


def in_stages(saved: dict[str, Any] | None, path: Path | None) -> dict[str, Any]:
    """Arrange a checkpoint by stages: "done", "half" and further keys; without a checkpoint, no stage is done.

    `path` is the run's folder, which holds the tables that earlier checkpoints lacked, or the file of a dense network.
    """
    if saved is None:
        return {"done": {}, "half": {}}
    if "done" in saved:
        return saved | {"done": _with_counts(saved["done"])}
    half = {key: saved[key] for key in TRAINING if key in saved}
    if "rewind" in saved:
        done = {} if saved["rewind"] is None else {"rewind": saved["rewind"]}
        return {"done": done, "half": {"dense": half}}
    beside = {"clock": saved["clock"], "network": saved.get("whole")}
    if "level" not in saved:
        tables = decided(lambda: [read_named(path / f"{name}.csv") for name in ("pre-train", "compression")])
        return {"done": {"prune": tables}, "half": {"post-train": half}} | beside
    last = saved["level"]
    table = decided(lambda: read_named(path / f"compression-level-{last}.csv"))
    done: dict[str, Any] = {"begin": None}
    for level, left in enumerate(saved["counts"][1:], 1):
        done |= {f"prune-{level}": [left, table if level == last else None]}
        if level < last:
            done |= {f"level-{level}": pd.DataFrame(saved["trained"][level])}
    return {"done": _with_counts(done) | {f"rewind-{last}": None}, "half": {f"train-{last}": half}} | beside


def _with_counts(done: dict[str, Any]) -> dict[str, Any]:
    """Add its counts, which the stage `prune-N` returned, to the rows that the stage `level-N` returned alone."""
    alone = {name: rows for name, rows in done.items() if name.startswith("level-") and not isinstance(rows, list)}
    return done | {name: [done[name.replace("level", "prune")][0], rows] for name, rows in alone.items()}
