"""Fine-tuning with the held-out images in place of the test set, the same for every network in a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from Utils.compute.clock import Clock
from Utils.regrowth.start import PrunedNetwork, Validated
from Utils.runs.stages import Stages
from Utils.training.loops import evaluate
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import COLUMNS, Diverged, Training

CALIBRATION_BATCHES = 100
VALIDATION = tuple(c.replace("test_", "val_").replace("_accuracy", "_val_accuracy") for c in COLUMNS)  # COLUMNS mean these here
TOP1 = COLUMNS.index("top1_accuracy")


def finetune(opened: PrunedNetwork, stages: Stages, clock: Clock, name: str, step: int, epochs: int) -> dict[str, Any]:
    """Fine-tune the present network of `opened` for `epochs`, as stage `name`.

    Batches depend only on the seed and `step`, so that all networks of a step see the same ones.

    Returns:
        "rows", a row of `VALIDATION` for each epoch, and "model", the `state_dict` after the last one.
    """

    def work() -> dict[str, Any]:
        training = _training(opened, clock, f"regrow-{step}", epochs)
        if opened.options.regrow_bn_recalibrate and not stages.half(name):
            recalibrate(opened)
        stages.train(name, training)
        return {"rows": [list(row) for row in training.rows], "model": opened.cloned_state()}

    done = stages.once(name, work)
    opened.load(done["model"])
    return done


def epochs_in(rows: Sequence[Sequence[Any]]) -> int:
    """Count the epochs among rows of `VALIDATION`; the row before training is none."""
    return sum(1 for row in rows if row[1] is not None)


def short_accuracy(opened: PrunedNetwork, clock: Clock, step: int, epochs: int) -> float:
    """Fine-tune the present network for `epochs` and return its validation accuracy, from 0 to 1; the network changes.

    The result is 0 if the loss is no longer finite.
    """
    if not epochs:
        return evaluate(opened.model, opened.validation(), opened.precision)[1] / 100
    training = _training(opened, clock, f"regrow-mini-{step}", epochs)
    try:
        training.run(epochs)
    except Diverged:
        return 0.0
    return training.rows[-1][TOP1] / 100


def _training(opened: PrunedNetwork, clock: Clock, order: str, epochs: int) -> Training:
    data: Any = Validated(opened.data)
    network = MaskedNetwork(opened.model, opened.prunables, data, opened.device, opened.options, opened.precision)
    return Training(network, "post_train", clock, order=order, epochs=epochs)


@torch.no_grad()
def recalibrate(opened: PrunedNetwork) -> None:
    """Compute BatchNorm's statistics anew as plain averages over up to 100 batches of training images.

    The momentum stays.
    """
    norms = [m for m in opened.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
        opened.model.train()
        for images, _ in opened.scoring(CALIBRATION_BATCHES):
            opened.model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
