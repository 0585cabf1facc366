"""Prune: masks and tables only, no training and no evaluation. Data-free methods need no dataset on disk."""

from __future__ import annotations

import argparse

from Pruners.base import Pruner
from Pruners.loop import NonFiniteScores
from Utils.clock import Clock
from Utils.errors import Refused
from Utils.measuring import compression_table
from Utils.results import RunFolder
from Utils.setup import Datasets, choose_device, load_pruner, prepare, print_note, print_target
from Utils.summary import pruning_summary, untrained_summary
from Utils.tables import print_pruning, print_saved, print_warnings


def run(options: argparse.Namespace, datasets: Datasets | None = None) -> None:
    """Prune one network, or print what its finished folder holds. `datasets` are those that the process has open already.

    Raises:
        Refused: nothing was written.
    """
    pruner = load_pruner(options)
    with RunFolder(options) as folder:
        if folder.finished:
            return print_saved(folder.path)
        _run(options, pruner, folder, datasets or Datasets())


def _run(options: argparse.Namespace, pruner: Pruner, folder: RunFolder, datasets: Datasets) -> None:
    device = choose_device(options)
    clock = Clock(device)
    with clock("data"):
        data = datasets.open(options, device)
        if pruner.needs_data:
            print(f"Loading {options.dataset} dataset.")
            data.load()
    print(f"Creating {options.model_class}-{options.model} model.")
    subject = prepare(options, device, data)
    print_note(pruner, options)
    initial = folder.snapshot(subject.model)
    print_target(options)
    try:
        with clock("prune"):
            scores = subject.prune(pruner)
    except NonFiniteScores as error:
        raise Refused(str(error)) from error
    table = compression_table(subject.model, subject.prunables, scores, data.input_shape)
    summary = pruning_summary(folder, subject, table, clock) | untrained_summary()
    print_pruning(table, summary)
    print_warnings(summary)

    folder.begin(device)
    folder.write_state("initial.pt", initial)
    folder.write_table("compression.csv", table)
    folder.write_state("model.pt", subject.model.state_dict())
    folder.finish(summary)
