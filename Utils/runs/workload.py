"""The parts of a run with the batches and rounds of each: what its progress counts, and what an estimate multiplies."""

from __future__ import annotations

from Pruners._shared.base import Pruner
from Utils.base.progress_bar import ROUND, TESTED, TRAINED, Part
from Utils.data.dataset import Dataset
from Utils.options.types import Options
from Utils.runs.levels import levels_of
from Utils.training.batches_of_epoch import batches_of_epoch


def parts_of(options: Options, data: Dataset, pruner: Pruner) -> list[Part]:
    """Return the parts of a run of singleshot, multishot or prune, in their order; the names are those of its stages."""
    rounds = {ROUND: options.prune_epochs or pruner.rounds}
    if not options.reads("epochs"):
        return [Part("prune", rounds)]
    parts = [Part("dense", _training(options, data, options.pre_epochs))]
    if not options.level:
        return [*parts, Part("prune", rounds), Part("post-train", _training(options, data, options.post_epochs))]
    for level in levels_of(options, 1.0):
        label = f"level {level.number}/{options.level} "
        training = _training(options, data, level.epochs - options.rewind_epoch)
        parts += [Part(f"prune-{level.number}", rounds, label), Part(f"train-{level.number}", training, label)]
    return parts


def _training(options: Options, data: Dataset, epochs: int) -> dict[str, int]:
    """Count the batches of a training with an evaluation before it and after each epoch."""
    trained, tested = batches_of_epoch(data, options)
    return {TRAINED: epochs * trained, TESTED: (epochs + 1) * tested}
