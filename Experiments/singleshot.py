"""Singleshot: (train densely) -> evaluate -> prune -> evaluate -> train -> tables -> run folder."""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd

from Pruners._shared.base import Pruner
from Pruners._shared.loop import NonFiniteScores
from Pruners._shared.updates import MaskUpdates
from Utils.base.errors import Refused
from Utils.compact.trained import TrainedNetwork
from Utils.compute.clock import Clock
from Utils.compute.processes import decided
from Utils.data.sharding import batch_sizes
from Utils.measure.counting import compression_table
from Utils.runs.dense_cache import Checkpoints, train_densely
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import run_once
from Utils.runs.outputs import inference_summary
from Utils.runs.printing import print_inference, print_pruning, print_training, print_warnings, read_table
from Utils.runs.summary import pruning_summary, training_summary
from Utils.training.network import Datasets, Subject, print_target, set_up
from Utils.training.phase import Training


def run(options: argparse.Namespace, datasets: Datasets | None = None) -> None:
    """Take one network through the whole experiment, or print what its finished folder holds.

    `datasets` are those that the process has open already. A folder left half-way is taken up at its last checkpoint.

    Raises:
        Refused: nothing was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    run_once(options, datasets, _run)


def _run(options: argparse.Namespace, pruner: Pruner, folder: RunFolder, datasets: Datasets) -> None:
    subject, clock = set_up(options, pruner, datasets)
    saved = folder.resume()
    if saved:
        pre, table = decided(lambda: [read_table(folder.path / f"{name}.csv") for name in ("pre-train", "compression")])
        network = TrainedNetwork.resume(subject, saved, clock)
    else:
        pre, table = _prune(options, pruner, folder, subject, clock)
        network = TrainedNetwork(subject, clock)

    trained = network.subject
    updates, watch = _updates(pruner, trained), folder.events.watch(options.pre_epochs)
    rest = (trained.model, trained.prunables, trained.data, options, "post_train", clock)
    training = Training(*rest, updates=updates, watch=watch)
    if saved:
        training.restore(saved)
        clock.restore(saved["clock"])
        print(f"Going on after epoch {training.epoch} of {options.post_epochs}.")
    else:
        print(f"Post-Training for {options.post_epochs} epochs.")
    post = training.run(options.post_epochs, Checkpoints(lambda t: _keep(folder, t, network), options.checkpoint_every))
    network.write_back()
    if updates:  # what was counted are the masks at the start; the scores of the last ones are magnitudes
        sizes = [p.weight.detach().abs() for p in subject.prunables]
        table = compression_table(subject.model, subject.prunables, sizes, subject.data.input_shape)
        folder.write_table("updates.csv", updates.table())
        folder.write_table("compression.csv", table)
    # Before it is measured: a measurement that fails is not worth a trained network.
    folder.write_table("post-train.csv", post)
    folder.write_state("model.pt", subject.model.state_dict())
    folder.write_state("model-compact.pt", network.small_state())
    folder.write_state("optimizer.pt", training.optimizer.state_dict())
    folder.write_state("scheduler.pt", training.scheduler.state_dict())
    summary = pruning_summary(folder, subject, table, clock) | training_summary(post, subject.data, options.patience)
    summary |= network.summary() | (updates.summary() if updates else {}) | inference_summary(trained, folder)
    print_training(pre, post, options.patience)
    print_pruning(table, summary)
    print_inference(summary["inference"])
    print_warnings(summary)
    folder.finish(summary)


def _prune(
    options: argparse.Namespace, pruner: Pruner, folder: RunFolder, subject: Subject, clock: Clock
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train densely and prune; returns the rows of the training and the table of the pruning, both saved."""
    model = subject.model
    if options.pre_epochs:  # else nothing is written before the scores have turned out finite
        folder.begin(subject.device)
    initial = folder.snapshot(model)
    print(f"Pre-Train for {options.pre_epochs} epochs.")
    pre = train_densely(subject, options, clock, folder.events.watch()).rows
    dense = folder.snapshot(model) if options.pre_epochs else None

    print_target(options)
    try:
        with clock("prune"):
            scores = subject.prune(pruner)
    except NonFiniteScores as error:
        if options.pre_epochs:
            raise
        raise Refused(str(error)) from error
    table = compression_table(model, subject.prunables, scores, subject.data.input_shape)
    folder.begin(subject.device)
    folder.write_state("initial.pt", initial)
    folder.write_state("dense.pt", dense)
    folder.write_table("pre-train.csv", pre)
    folder.write_table("compression.csv", table)
    return pre, table


def _updates(pruner: Pruner, trained: Subject) -> MaskUpdates | None:
    """What moves the masks in training, where the method does that."""
    if pruner.growth is None:
        return None
    options = trained.options
    steps = len(batch_sizes(trained.data.train_size, options.train_batch_size))
    updates = MaskUpdates(
        trained.prunables, pruner.growth, options.seed, steps=steps * options.post_epochs, steps_per_epoch=steps,
        interval=options.update_interval, drop_fraction=options.drop_fraction, end_fraction=options.update_end_fraction,
    )  # fmt: skip
    if not updates.due(options.update_interval):
        print(f"NOTE: the masks stay: --update-interval {options.update_interval} is longer than the training that may move them")
    return updates


def _keep(folder: RunFolder, training: Training, network: TrainedNetwork) -> None:
    """A checkpoint, and the rows so far for whoever looks at the folder."""
    state: dict[str, Any] = training.state() | network.state() | {"clock": training.clock.state()}
    folder.write_table("post-train.csv", training.table())
    folder.write_checkpoint(state)
