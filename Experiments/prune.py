"""Prune: make masks and tables, without training or evaluation. Data-free methods need no dataset on disk."""

from __future__ import annotations

from Pruners._shared.base import Pruner
from Utils.base.progress_bar import plan_parts
from Utils.data.open_set import Datasets
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import run_once
from Utils.runs.printing import print_pruning, print_warnings
from Utils.runs.summary import pruning_summary, untrained_summary
from Utils.runs.workload import parts_of
from Utils.training.set_up import print_target, set_up

EXPERIMENT = {
    "summary": "prune and count: masks and tables, no training; data-free methods need no dataset on disk",
    "reads": ("pruning", "grids", "counting"),
    "writes": ("initial.pt", "compression.csv", "model.pt"),
    "kind": "pruning",
}


def run(options: Options, datasets: Datasets | None = None) -> None:
    """Prune one network, or print the results in its finished folder.

    `datasets` are those that the process has opened already.

    Raises:
        Refused: no file was written.
        RunFailed: its folder says why it failed.
    """
    run_once(options, datasets, _run)


def _run(options: Options, pruner: Pruner, folder: RunFolder, datasets: Datasets) -> None:
    network, clock = set_up(options, pruner, datasets, folder.precision_on, read=pruner.needs_data)
    initial = folder.snapshot(network.model)
    print_target(options)
    plan_parts(parts_of(options, network.data, pruner))
    with clock("prune"):
        pruned = network.prune(pruner)
    table = network.compression_table(pruned)
    summary = pruning_summary(folder, network, table, clock) | untrained_summary()
    print_pruning(table, summary)
    print_warnings(summary)

    folder.begin(network.device)
    folder.write_state("initial.pt", initial)
    folder.write_table("compression.csv", table)
    folder.write_state("model.pt", network.model.state_dict())
    folder.finish(summary)
