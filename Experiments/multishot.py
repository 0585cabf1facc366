"""Multishot: train, prune a little, rewind, and repeat; then train the pruned network.

`--level-list` gives the number of levels. Level l of n prunes to the density d^(l/n), as in Synaptic-Flow.

With rewinding (the lottery ticket procedure: Frankle and Carbin 2019, arXiv 1803.03635, and from a later epoch Frankle et al.
2020, arXiv 1912.05671), every level trains for `--pre-epochs` from the same state: weights, BatchNorm statistics, optimizer,
schedule. Without it (`--no-rewind`), the dense network is trained for `--pre-epochs`, and every level fine-tunes for
`--post-epochs` after its pruning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from Pruners._shared.base import Pruner
from Utils.base.progress_bar import enter_part, plan_parts
from Utils.compact.trained import TrainedNetwork
from Utils.compute.clock import Clock
from Utils.data.open_set import Datasets
from Utils.measure.counting import with_effective
from Utils.options.types import Options
from Utils.runs.dense_cache import copied, train_densely
from Utils.runs.folder import RunFolder
from Utils.runs.levels import Level, counts_of_level, levels_of, levels_table, rows_before, rows_by_level
from Utils.runs.lifecycle import run_once
from Utils.runs.outputs import Results, save_and_print, save_start
from Utils.runs.stages import Stages
from Utils.runs.workload import parts_of
from Utils.training.masked_network import MaskedNetwork, Pruned
from Utils.training.phase import Training
from Utils.training.set_up import set_up

EXPERIMENT = {
    "summary": "--level-list: train, prune a little, rewind, and again; then train what is left",
    "reads": ("pruning", "training", "grids", "stacks", "levels", "counting"),
    "writes": (
        "initial.pt", "dense.pt", "model.pt", "model-compact.pt", "optimizer.pt", "scheduler.pt",
        "pre-train.csv", "post-train.csv", "compression.csv", "levels.csv", "trace.json",
    ),
    "by_level": ("compression-level-{}.csv", "masks-level-{}.pt"),
    "kind": "pruning",
    "several_processes": True,
}  # fmt: skip


def run(options: Options, datasets: Datasets | None = None) -> None:
    """Take one network through all levels, or print the results in its finished folder.

    Raises:
        Refused: no file was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    run_once(options, datasets, _run)


def _run(options: Options, pruner: Pruner, folder: RunFolder, datasets: Datasets) -> None:
    """Open, train densely, prune, rewind and train level by level, measure, save."""
    network, clock = set_up(options, pruner, datasets, folder.precision_on)
    plan_parts(parts_of(options, network.data, pruner))
    *earlier, last = levels_of(options, network.density_at_start)
    initial = folder.snapshot(network.model)
    print(f"Pre-Train for {options.pre_epochs} epochs.")
    dense = train_densely(network, clock, folder.events.watch())
    unpruned = network.compression_table(Pruned([p.mask for p in network.prunables]))
    counts = [counts_of_level(network, 0, network.density_at_start, unpruned)]
    stages = Stages(folder, options.checkpoint_every, clock, network)
    levels = _Levels(pruner, folder, network, clock, stages, dense.rewind, [dense.rows])

    def begin() -> None:
        trained = folder.snapshot(network.model) if options.pre_epochs else None
        save_start(folder, network.device, initial, trained, rows_by_level(levels.trained), grows=True)

    stages.once("begin", begin)
    for level in earlier:
        found, rows = stages.once(f"level-{level.number}", lambda level=level: levels.prune_and_train(level))
        counts.append(found)
        levels.trained.append(rows)
    found, table = levels.prune(last)
    trained, training = levels.train_level(last)
    counts.append(found)
    levels.trained.append(training.table())

    # As in Synaptic-Flow, the scores are those before ablations; the live units are known only after ablations.
    table = with_effective(table, network.model, network.prunables, network.data.input_shape)
    folder.write_table("compression.csv", table)
    results = levels_table(counts, levels.trained, options.patience)
    save_and_print(folder, clock, trained, training, Results(levels.trained[0], levels.trained[-1], table, results))


@dataclass
class _Levels:
    """The state that all levels share.

    Attributes:
        rewind_state: the state to return to before each training (see `Training.state`).
        trained: the rows of every finished training, from the dense network on.
    """

    pruner: Pruner
    folder: RunFolder
    network: MaskedNetwork
    clock: Clock
    stages: Stages
    rewind_state: dict[str, Any]
    trained: list[pd.DataFrame]

    def prune_and_train(self, level: Level) -> tuple[dict[str, float], pd.DataFrame]:
        """Return the counts after the pruning of `level`, and the rows of its training."""
        counts, _ = self.prune(level)
        return counts, self.train_level(level)[1].table()

    def prune(self, level: Level) -> tuple[dict[str, float], pd.DataFrame | None]:
        """Prune to the density of `level`; return the counts, and after the last level its compression table."""
        return self.stages.once(f"prune-{level.number}", lambda: self._prune(level))

    def _prune(self, level: Level) -> tuple[dict[str, float], pd.DataFrame | None]:
        network, options = self.network, self.network.options
        print(f"Level {level.number} of {options.level}: pruning with {options.pruner} to density {level.density:.6g}.")
        enter_part(f"prune-{level.number}")
        with self.clock("prune"):
            pruned = network.prune(self.pruner, level.density, level.from_density, ablate=False)
        table = network.compression_table(pruned)
        self.folder.write_table(f"compression-level-{level.number}.csv", table)
        self.folder.write_state(f"masks-level-{level.number}.pt", {p.name: p.mask.bool() for p in network.prunables})
        return counts_of_level(network, level.number, level.density, table), table if level.last else None

    def train_level(self, level: Level) -> tuple[TrainedNetwork, Training]:
        """Rewind the network pruned by `level`, and train it."""
        stage = f"train-{level.number}"
        self.stages.once(f"rewind-{level.number}", lambda: self._rewind(level))
        trained = TrainedNetwork(self.network, self.stages.clock_before(stage))
        training = self._training(trained, level)
        with rows_before(self.trained):
            rows = self.stages.train(stage, training, of=f"level {level.number}", followed=not level.last)
        trained.write_back()
        self.folder.write_rows("pre-train.csv", rows_by_level(self.trained if level.last else [*self.trained, rows]))
        return trained, training

    def _rewind(self, level: Level) -> None:
        """Reset the weights to the start of their training; the masks stay. The last level also applies ablations."""
        if not self.network.options.no_rewind:
            self.network.load(self.rewind_state["model"])
        if level.last:
            self.network.ablate()

    def _training(self, trained: TrainedNetwork, level: Level) -> Training:
        """Make the training of `level`: with optimizer and schedule rewound too, or a fine-tuning."""
        options = self.network.options
        training = Training(
            trained.network, level.phase, self.clock, order=level.order, first=options.rewind_epoch, epochs=level.epochs,
            watch=self.folder.events.watch(sum(len(rows) - 1 for rows in self.trained)),
        )  # fmt: skip
        if not options.no_rewind:
            training.restore(trained.shrink(copied(self.rewind_state) | {"model": self.network.model.state_dict()}))
        return training
