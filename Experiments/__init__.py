"""Experiments, one readable script each: `Experiments/NAME.py` with a function `run(options)`."""

from __future__ import annotations

from dataclasses import dataclass

COMMON = frozenset({"dataset", "data", "image", "model", "seed", "device", "verbose", "save"})
PRUNING = COMMON | {"prunable", "prune"}
TRAINING = {"train", "validation", "compact", "profile", "dense", "test", "augment"}
GRID = {"grid", "lists", "pruner list", "schedule lists", "ablations"}


@dataclass(frozen=True)
class Experiment:
    """What an experiment does, and which parts of the command line it reads (the readers in `Utils/options.py`)."""

    summary: str
    reads: frozenset[str]


EXPERIMENTS = {
    "singleshot": Experiment(
        "train densely (--pre-epochs), prune once, train (--post-epochs), measure, save", PRUNING | TRAINING | GRID
    ),
    "multishot": Experiment(
        "--level-list: train, prune a little, rewind, and again; then train what is left", PRUNING | TRAINING | GRID | {"levels"}
    ),
    "prune": Experiment(
        "prune and count: masks and tables, no training; data-free methods need no dataset on disk", PRUNING | GRID
    ),
    "layer-conservation": Experiment("average score of each layer against the inverse of its size", PRUNING | {"pruner list"}),
    "unit-conservation": Experiment("scores that enter each hidden unit against those that leave it", PRUNING | {"pruner list"}),
    "imp-conservation": Experiment(
        "average squared weight of each layer against the inverse of its size, over training",
        COMMON | {"train", "test", "augment"},
    ),
    "schedule-conservation": Experiment(
        "score removed by SynFlow's rounds over the maximal flow, for linear and exponential schedules",
        COMMON | {"prunable", "schedule lists"},
    ),
    "evaluate": Experiment(
        "test a saved run's model.pt again: --run FOLDER ...",
        frozenset({"run", "test", "device", "verbose", "data"}),
    ),
    "time": Experiment(
        "measure the inference time of saved runs again: --run FOLDER ...",
        frozenset({"run", "test", "device", "verbose", "data"}),
    ),
    "compact": Experiment(
        "write saved runs' networks without their dead units, also as .pt2 and .onnx, and measure them: --run FOLDER ...",
        frozenset({"run", "test", "device", "verbose", "data"}),
    ),
    "histogram": Experiment(
        "draw how the kept weights of saved runs are distributed: --run FOLDER ...", frozenset({"run", "histogram", "verbose"})
    ),
    "trace": Experiment(
        "read a trace of PyTorch's profiler: convolution time, idle gaps, layers, a timeline",
        frozenset({"trace", "verbose", "save"}),
    ),
    "data": Experiment("fetch and check a dataset ahead of a job", frozenset({"dataset", "data", "mirror"})),
}
