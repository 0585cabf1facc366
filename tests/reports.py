"""Runs for the tests of the report: some made by hand, of which a table can be worked out on paper, and small real ones."""

from __future__ import annotations

from pathlib import Path

from conftest import TINY

from Utils.options.table import defaults
from Utils.report.collect import Collection
from Utils.report.report_run import Run

NASTY = "<img src=x onerror=alert(1)> | `*b*` =cmd"  # a name of a run
SINGLE = defaults("singleshot") | {"model_class": "default", "density": 1.0, "sparsity": 0.0, "prune_epochs": 1}


def made(pruner: str, compression: float = 1.0, seed: int = 1, top1: float | None = 90.0, folder: str = "", **changes: object) -> Run:
    """A finished run of `fc` on MNIST; `summary` changes its summary, all other `changes` its options."""
    summary = {
        "top1_last": top1, "top1_best": None if top1 is None else top1 + 1, "best_epoch": 3, "flops_kept": 10, "flops_total": 100,
        "density": 0.1, "effective_density": 0.1, "collapsed": False, "untrained": False, "collapsed_layers": [],
        "inference": {"total_seconds": 0.5, "batch_seconds": {"median": 0.01}, "device": "cpu", "batch_size": 256},
        "seconds": {"post_train": 2.0, "prune": 0.1}, "peak_memory_bytes": {"train": 3_000_000}, "precision": "float32",
    }  # fmt: skip
    summary |= changes.pop("summary", {})
    status = str(changes.pop("status", "done"))
    options = SINGLE | {"pruner": pruner, "compression": compression, "seed": seed, "argv": ["main.py"], "device": "cpu"} | changes
    name = folder or f"{pruner}-{compression}-{seed}-{len(changes)}"
    return Run(Path("/runs") / name, options, summary if status == "done" else {}, status, str(changes.get("reason", "")))


def collection(*runs: Run) -> Collection:
    """The collection that holds just these."""
    return Collection(runs=list(runs))


def train_runs(folder: Path) -> None:
    """Train a grid of two methods, two compressions and two seeds, a traced run with a nasty name and its trace, and a run in mixed precision."""
    import main

    grid = ["--pruner-list", "snip", "mag", "--compression-list", "0.5", "3.2", "--seed-list", "1", "2", "--expid", "grid"]
    for words in (grid, ["--pruner", "mag", "--compression", "0.5", "--save-trace", "--expid", NASTY, "--lr", "0.01"],
                  ["--pruner", "snip", "--compression", "0.5", "--quantization", "--expid", "mixed"]):  # fmt: skip
        assert main.main([*TINY, *words, "--result-dir", str(folder)]) == 0
    trace = str(folder / "singleshot" / NASTY / "trace.json")
    assert main.main(["--experiment", "trace", "--trace", trace, "--expid", NASTY, "--result-dir", str(folder)]) == 0
