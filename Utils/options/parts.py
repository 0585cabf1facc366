"""The parts of the command line: an experiment names the parts it reads, and a part says what its options affect."""

from __future__ import annotations

from enum import Flag, auto
from typing import NamedTuple


class Affects(Flag):
    """The things that change when an option does."""

    NOTHING = 0
    NAME = auto()  # the run's name: two runs that differ in it have different names and folders
    RESULT = auto()  # the accuracies and counts of the run
    DENSE = auto()  # the densely trained network, which runs share: a part of its key in the cache
    RIVALS = auto()  # the rivals of a regrowth, which its runs share: a part of their key in the cache
    RUN = NAME | RESULT | RIVALS
    TRAINING = RUN | DENSE


class Part(NamedTuple):
    """A part of the command line.

    Attributes:
        heading: the heading of the help under which its options stand.
        affects: what its options affect, unless one says otherwise.
        per_pruner: whether `--for` may set its options for one pruner's cells.
    """

    heading: str
    affects: Affects = Affects.RUN
    per_pruner: bool = False


PARTS = {
    "always": Part("experiment"),
    "assignment": Part("experiment"),
    "save": Part("experiment", Affects.NOTHING),
    "seed": Part("experiment", Affects.TRAINING),
    "device": Part("experiment", Affects.NOTHING),
    "verbose": Part("experiment", Affects.NOTHING),
    "dataset": Part("data", Affects.TRAINING),
    "data": Part("data", Affects.NOTHING),
    "image": Part("data", Affects.TRAINING),
    "augment": Part("data", Affects.TRAINING, per_pruner=True),
    "mirror": Part("data"),
    "network": Part("model", Affects.TRAINING),
    "model": Part("model", Affects.TRAINING),
    "dense": Part("training", Affects.TRAINING, per_pruner=True),
    "checkpoints": Part("training", Affects.NOTHING),
    "train": Part("training", Affects.TRAINING, per_pruner=True),
    "epochs": Part("training", per_pruner=True),
    "held out": Part("training", Affects.TRAINING, per_pruner=True),
    "validation": Part("training", Affects.TRAINING, per_pruner=True),
    "compile": Part("training", Affects.TRAINING, per_pruner=True),
    "compact": Part("training"),
    "test": Part("training", Affects.TRAINING, per_pruner=True),
    "profile": Part("training", per_pruner=True),
    "prunable": Part("pruning", per_pruner=True),
    "prune": Part("pruning", per_pruner=True),
    "counting": Part("pruning"),
    "ablations": Part("pruning", per_pruner=True),
    "levels": Part("levels (multishot)", per_pruner=True),
    "updates": Part("masks that move in training (set, rigl)", per_pruner=True),
    "lists": Part("grids (a list runs every combination)"),
    "seed list": Part("grids (a list runs every combination)"),
    "pruner list": Part("grids (a list runs every combination)"),
    "schedule lists": Part("grids (a list runs every combination)"),
    "regrow lists": Part("grids (a list runs every combination)"),
    "overrides": Part("grids (a list runs every combination)"),
    "grid": Part("grids (a list runs every combination)", Affects.NOTHING),
    "stacks": Part("grids (a list runs every combination)", Affects.NOTHING),
    "run": Part("saved runs, traces and checkpoints"),
    "checkpoint": Part("saved runs, traces and checkpoints"),
    "histogram": Part("saved runs, traces and checkpoints"),
    "saliency": Part("saved runs, traces and checkpoints"),
    "report": Part("saved runs, traces and checkpoints"),
    "time": Part("saved runs, traces and checkpoints", Affects.NOTHING),
    "trace": Part("saved runs, traces and checkpoints"),
    "regrow": Part("regrowth"),
    "regrow choice": Part("regrowth"),
    "regrow search": Part("regrowth"),
    "regrow mini": Part("regrowth"),
    "regrow bench": Part("regrowth"),
}
