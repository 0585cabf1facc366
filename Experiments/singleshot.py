"""Singleshot: (train densely) -> evaluate -> prune -> evaluate -> train -> tables -> run folder."""

from __future__ import annotations

from functools import partial

import pandas as pd

from Pruners._shared.base import Pruner
from Utils.base.progress_bar import enter_part, plan_parts
from Utils.compact.trained import TrainedNetwork
from Utils.compute.clock import Clock
from Utils.data.open_set import Datasets
from Utils.options.types import Options
from Utils.runs.dense_cache import train_densely
from Utils.runs.dense_cell import same_training, take_over
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import run_once
from Utils.runs.outputs import Results, save_and_print, save_start
from Utils.runs.stages import Stages
from Utils.runs.workload import parts_of
from Utils.training.masked_network import MaskedNetwork, Pruned
from Utils.training.moving_masks import mask_updates
from Utils.training.phase import Training
from Utils.training.set_up import print_target, set_up

EXPERIMENT = {
    "summary": "train densely (--pre-epochs), prune once, train (--post-epochs), measure, save",
    "reads": ("pruning", "training", "grids", "stacks", "updates", "counting"),
    "writes": (
        "initial.pt", "dense.pt", "model.pt", "model-compact.pt", "optimizer.pt", "scheduler.pt",
        "pre-train.csv", "post-train.csv", "compression.csv", "updates.csv", "trace.json",
    ),
    "kind": "pruning",
    "several_processes": True,
}  # fmt: skip


def run(options: Options, datasets: Datasets | None = None) -> None:
    """Take one network through the whole experiment, or print the results in its finished folder.

    `datasets` are those that the process has opened already.

    Raises:
        Refused: no file was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    run_once(options, datasets, _run)


def _run(options: Options, pruner: Pruner, folder: RunFolder, datasets: Datasets) -> None:
    """Open, train densely, prune, train, measure, save."""
    network, clock = set_up(options, pruner, datasets, folder.precision_on)
    plan_parts(parts_of(options, network.data, pruner))
    stages = Stages(folder, options.checkpoint_every, clock, network)
    pre, table = stages.once("prune", lambda: _train_densely_and_prune(pruner, folder, network, clock))

    trained = TrainedNetwork(network, stages.clock_before("post-train"))
    updates = mask_updates(pruner, trained.network)
    training = Training(trained.network, "post_train", clock, updates=updates, watch=folder.events.watch(options.pre_epochs))
    begins = f"Post-Training for {options.post_epochs} epochs."
    save_rows = partial(folder.write_rows, "post-train.csv")
    same = same_training(folder, network) if not updates and stages.half("post-train") is None else None
    if same:
        post = take_over(same, training)
    else:
        post = stages.train("post-train", training, begins=begins, of=options.post_epochs, save_rows=save_rows)
    trained.write_back()

    if updates:  # the table so far describes the masks at the start
        table = network.compression_table(Pruned([p.weight.detach().abs() for p in network.prunables]))
        folder.write_table("updates.csv", updates.table())
        folder.write_table("compression.csv", table)
    more = updates.summary() if updates else {"same_as": same.name} if same else {}
    save_and_print(folder, clock, trained, training, Results(pre, post, table, more=more))


def _train_densely_and_prune(
    pruner: Pruner, folder: RunFolder, network: MaskedNetwork, clock: Clock
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train for `--pre-epochs` and prune; return the rows of the training and the compression table, both saved."""
    options = network.options
    if options.pre_epochs:  # otherwise no file is written before the scores are known to be finite
        folder.begin(network.device)
    initial = folder.snapshot(network.model)
    print(f"Pre-Train for {options.pre_epochs} epochs.")
    pre = train_densely(network, clock, folder.events.watch()).rows
    dense = folder.snapshot(network.model) if options.pre_epochs else None

    print_target(options)
    enter_part("prune")
    with clock("prune"):
        pruned = network.prune(pruner)
    table = network.compression_table(pruned)
    save_start(folder, network.device, initial, dense, pre)
    save = folder.write_rows if pruner.growth else folder.write_table  # masks that move give another table at the end
    save("compression.csv", table)
    return pre, table
