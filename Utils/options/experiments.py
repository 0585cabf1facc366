"""The experiments: what each does, which options it reads, and which files it writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMMON = frozenset({"dataset", "data", "image", "model", "network", "seed", "device", "verbose", "save"})
PRUNING = COMMON | {"prunable", "prune"}
TRAINING = {"train", "checkpoints", "epochs", "held out", "validation", "compact", "profile", "dense", "test", "augment"}
GRID = {"grid", "overrides", "lists", "seed list", "pruner list", "schedule lists", "ablations"}
REGROWTH = COMMON | {"run", "checkpoint", "train", "held out", "test", "augment", "regrow"}
# How Bidirection-Prune-Regrowth fine-tunes, AdamW with its own weight decay of 0.01; its batches and its share of validation too.
FINE_TUNING = {"optimizer": "adamw", "lr": 3e-4, "train_batch_size": 128, "val_fraction": 0.1}


PRUNED = ("initial.pt", "compression.csv", "model.pt")
TRAINED = (
    *PRUNED,
    "pre-train.csv",
    "dense.pt",
    "post-train.csv",
    "optimizer.pt",
    "scheduler.pt",
    "model-compact.pt",
    "trace.json",
)


def _drawn(name: str, *kinds: str) -> tuple[str, ...]:
    return tuple(f"{name}.{kind}" for kind in (kinds or ("csv", "png", "pdf")))


@dataclass(frozen=True)
class Experiment:
    """What an experiment does, which parts of the command line it reads (the readers in `table.py`), and what it writes.

    `own` are its defaults where they are not those of the options. `writes` are the files in its folder, beside those of all
    runs and those of `figures/` and `tables/`; an experiment about saved runs writes them `into_runs`, into the folder of each.
    `by_level` says that each level has files of its own.
    """

    summary: str
    reads: frozenset[str]
    own: Mapping[str, Any] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    into_runs: bool = False
    by_level: bool = False


EXPERIMENTS = {
    "singleshot": Experiment(
        "train densely (--pre-epochs), prune once, train (--post-epochs), measure, save",
        PRUNING | TRAINING | GRID | {"counting", "updates"},
        writes=(*TRAINED, "updates.csv"),
    ),
    "multishot": Experiment(
        "--level-list: train, prune a little, rewind, and again; then train what is left",
        PRUNING | TRAINING | GRID | {"counting", "levels"},
        writes=(*TRAINED, "levels.csv"),
        by_level=True,
    ),
    "prune": Experiment(
        "prune and count: masks and tables, no training; data-free methods need no dataset on disk",
        PRUNING | GRID | {"counting"},
        writes=PRUNED,
    ),
    "assignment": Experiment(
        "--preset NAME|FILE.toml: everything that a course assignment asks for, as one grid, then the report",
        frozenset({"assignment", "grid", "seed list", "data", "device", "verbose", "save"}),
    ),
    "layer-conservation": Experiment(
        "average score of each layer against the inverse of its size",
        PRUNING | {"pruner list"},
        writes=_drawn("layer-conservation"),
    ),
    "unit-conservation": Experiment(
        "scores that enter each hidden unit against those that leave it",
        PRUNING | {"pruner list"},
        writes=_drawn("unit-conservation"),
    ),
    "imp-conservation": Experiment(
        "average squared weight of each layer against the inverse of its size, over training",
        COMMON | {"train", "epochs", "test", "augment"},
        writes=(*_drawn("imp-conservation"), "pre-train.csv"),
    ),
    "schedule-conservation": Experiment(
        "score removed by SynFlow's rounds over the maximal flow, for linear and exponential schedules",
        COMMON | {"prunable", "schedule lists"},
        writes=(*_drawn("schedule-conservation"), "schedule-rounds.csv"),
    ),
    "evaluate": Experiment(
        "test a saved run's model.pt again: --run FOLDER ...",
        frozenset({"run", "network", "test", "device", "verbose", "data"}),
    ),
    "time": Experiment(
        "measure the inference time of saved runs again: --run FOLDER ...",
        frozenset({"run", "network", "test", "device", "verbose", "data"}),
        writes=("time.json",),
        into_runs=True,
    ),
    "compact": Experiment(
        "write saved runs' networks without their dead units, also as .pt2 and .onnx, and measure them: --run FOLDER ...",
        frozenset({"run", "network", "test", "device", "verbose", "data"}),
        writes=_drawn("compact", "pt", "pt2", "onnx", "csv", "json"),
        into_runs=True,
    ),
    "status": Experiment("how far the cells of grids and single runs are: --run FOLDER ...", frozenset({"run"})),
    "histogram": Experiment(
        "draw how the kept weights of saved runs are distributed: --run FOLDER ...",
        frozenset({"run", "histogram", "verbose"}),
        writes=(*_drawn("histogram"), *_drawn("histogram-3d"), "histogram.json"),
        into_runs=True,
    ),
    "regrow": Experiment(
        "give a saved sparse run, or a foreign --checkpoint, some of its pruned weights back, beside two controls",
        REGROWTH | {"regrow choice", "regrow search", "regrow mini", "checkpoints", "grid", "seed list", "regrow lists"},
        FINE_TUNING,
        writes=(
            *_drawn("regrow"),
            "regrow-layers.csv",
            "regrow-epochs.csv",
            "regrow-search.csv",
            "regrow.json",
            "regrow_masks.pt",
            "compression.csv",
            "model.pt",
        ),
    ),
    "regrow-layers": Experiment(
        "all of the budget to one layer at a time: does a layer's SSIM say what regrowing it brings?",
        REGROWTH | {"regrow choice", "checkpoints"},
        FINE_TUNING,
        writes=(*_drawn("regrow-layers"), "regrow-correlations.csv"),
    ),
    "regrow-bench": Experiment(
        "seconds of regrowth by reference and by saliency, phase by phase",
        REGROWTH | {"regrow mini", "regrow bench"},
        FINE_TUNING | {"regrow_fraction": 0.01},
        writes=(*_drawn("regrow-bench"), "regrow-bench-runs.csv", "regrow-bench.json"),
    ),
    "inspect": Experiment("what a --checkpoint holds, ours or foreign: layers, densities, capacities", frozenset({"checkpoint"})),
    "saliency": Experiment(
        "which layers and weights of saved runs each class hangs on: --run FOLDER ...",
        frozenset({"run", "network", "saliency", "device", "verbose", "data"}),
        writes=(
            "saliency.csv",
            "saliency-classes.csv",
            *_drawn("saliency-first", "png", "pdf"),
            *_drawn("saliency-second", "png", "pdf"),
            "saliency.json",
        ),
        into_runs=True,
    ),
    "trace": Experiment(
        "read a trace of PyTorch's profiler: convolution time, idle gaps, layers, a timeline",
        frozenset({"trace", "verbose", "save"}),
        writes=("trace.csv", "trace_summary.json", *_drawn("timeline", "png", "pdf", "svg")),
    ),
    "report": Experiment(
        "turn saved runs and grids into one document, HTML and Markdown, with figures and tables: --run FOLDER ...",
        frozenset({"run", "histogram", "report", "verbose", "save"}),
        writes=("report.md", "report.html"),
    ),
    "data": Experiment("fetch and check a dataset ahead of a job", frozenset({"dataset", "data", "mirror"})),
}
