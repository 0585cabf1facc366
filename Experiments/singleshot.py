"""Singleshot: (train densely) -> evaluate -> prune -> evaluate -> train -> tables -> run folder."""

from __future__ import annotations

import argparse
import traceback

from Pruners.base import Pruner
from Pruners.loop import NonFiniteScores
from Utils.clock import Clock
from Utils.errors import Refused, RunFailed, failure
from Utils.measuring import compression_table
from Utils.results import RunFolder
from Utils.setup import choose_device, load_pruner, open_data, prepare, print_note, print_target
from Utils.summary import failed_summary, pruning_summary, training_summary
from Utils.tables import print_pruning, print_saved, print_training, print_warnings
from Utils.training import Diverged, train


def run(options: argparse.Namespace) -> None:
    """Take one network through the whole experiment, or print what its finished folder holds.

    Raises:
        Refused: nothing was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    pruner = load_pruner(options)
    folder = RunFolder(options)
    if folder.finished:
        return print_saved(folder.path)
    try:
        _run(options, pruner, folder)
    except (Refused, AssertionError):
        raise
    except Exception as error:  # a network of one's own may raise anything; --verbose shows where
        if options.verbose:
            traceback.print_exc()
        folder.begin(choose_device(options))  # does nothing where the run had begun
        if isinstance(error, Diverged):
            folder.write_table(f"{error.phase.replace('_', '-')}.csv", error.rows)
        reason = failure(error, options)
        folder.finish(failed_summary(folder, reason))
        raise RunFailed(reason) from error


def _run(options: argparse.Namespace, pruner: Pruner, folder: RunFolder) -> None:
    device = choose_device(options)
    clock = Clock(device)
    print(f"Loading {options.dataset} dataset.")
    with clock("data"):
        data = open_data(options, device)
        data.load()
    print(f"Creating {options.model_class}-{options.model} model.")
    subject = prepare(options, device, data)
    model, prunables = subject.model, subject.prunables
    print_note(pruner, options)
    if options.pre_epochs:  # else nothing is written before the scores have turned out finite
        folder.begin(device)
    initial = folder.snapshot(model)

    print(f"Pre-Train for {options.pre_epochs} epochs.")
    pre, _, _ = train(model, prunables, data, options, "pre_train", options.pre_epochs, clock)
    dense = folder.snapshot(model) if options.pre_epochs else None

    print_target(options)
    try:
        with clock("prune"):
            scores = subject.prune(pruner)
    except NonFiniteScores as error:
        if options.pre_epochs:
            raise
        raise Refused(str(error)) from error
    folder.begin(device)
    folder.write_state("initial.pt", initial)
    folder.write_state("dense.pt", dense)
    folder.write_table("pre-train.csv", pre)
    table = compression_table(model, prunables, scores, data.input_shape)
    folder.write_table("compression.csv", table)

    print(f"Post-Training for {options.post_epochs} epochs.")
    post, optimizer, scheduler = train(model, prunables, data, options, "post_train", options.post_epochs, clock)
    summary = pruning_summary(folder, subject, table, clock) | training_summary(post, data)
    print_training(pre, post)
    print_pruning(table, summary)
    print_warnings(summary)

    folder.write_table("post-train.csv", post)
    folder.write_state("model.pt", model.state_dict())
    folder.write_state("optimizer.pt", optimizer.state_dict())
    folder.write_state("scheduler.pt", scheduler.state_dict())
    folder.finish(summary)
