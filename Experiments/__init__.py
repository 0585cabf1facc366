"""Experiments, one readable script each: `Experiments/NAME.py` with a function `run(options)`."""

from __future__ import annotations

from dataclasses import dataclass

COMMON = frozenset({"dataset", "data", "image", "model", "prune", "seed", "device", "verbose", "save"})


@dataclass(frozen=True)
class Experiment:
    """What an experiment does, and which parts of the command line it reads (the readers in `Utils/options.py`)."""

    summary: str
    reads: frozenset[str]


EXPERIMENTS = {
    "singleshot": Experiment(
        "train densely (--pre-epochs), prune once, train (--post-epochs), measure, save", COMMON | {"train", "test", "augment"}
    ),
    "prune": Experiment("prune and count: masks and tables, no training; data-free methods need no dataset on disk", COMMON),
    "evaluate": Experiment(
        "test a saved run's model.pt again: --run FOLDER ...",
        frozenset({"run", "test", "device", "verbose", "data"}),
    ),
    "data": Experiment("fetch and check a dataset ahead of a job", frozenset({"dataset", "data", "mirror"})),
}
