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
from Utils.compact.trained import TrainedNetwork
from Utils.compute.clock import Clock
from Utils.data.open_set import Datasets
from Utils.measure.counting import with_effective
from Utils.options.types import Options
from Utils.runs.dense_cache import copied, train_densely, without_masks
from Utils.runs.folder import RunFolder
from Utils.runs.levels import counts_of_level, levels_table, rows_by_level
from Utils.runs.lifecycle import run_once
from Utils.runs.outputs import Results, save_and_print
from Utils.runs.stages import Stages
from Utils.training.masked_network import MaskedNetwork, Pruned
from Utils.training.phase import Diverged, Training
from Utils.training.set_up import set_up

EXPERIMENT = {
    "summary": "--level-list: train, prune a little, rewind, and again; then train what is left",
    "reads": ("pruning", "training", "grids", "levels", "counting"),
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
    network, clock = set_up(options, pruner, datasets)
    initial, start = folder.snapshot(network.model), copied(without_masks(Training(network, "pre_train", clock).state()))
    print(f"Pre-Train for {options.pre_epochs} epochs.")
    dense = train_densely(network, clock, folder.events.watch())
    counts = [counts_of_level(network, 0, network.start, network.compression_table(Pruned([p.mask for p in network.prunables])))]
    stages = Stages(folder, options.checkpoint_every, clock, network)
    ladder = _Ladder(pruner, folder, network, clock, stages, dense.rewind or start, [dense.rows])

    def begin() -> None:
        folder.begin(network.device)
        folder.write_state("initial.pt", initial)
        folder.write_state("dense.pt", folder.snapshot(network.model) if options.pre_epochs else None)
        folder.write_rows("pre-train.csv", rows_by_level(ladder.trained))

    stages.once("begin", begin)
    for level in range(1, options.level):
        rows = stages.once(f"level-{level}", lambda level=level: ladder.climb(level)[1].table())
        ladder.trained.append(rows)
    trained, training = ladder.climb(options.level)
    ladder.trained.append(training.table())

    pruned = [ladder.prune(level) for level in range(1, options.level + 1)]
    counts += [found for found, _ in pruned]
    # As in Synaptic-Flow, the scores are those before ablations; the live units are known only after ablations.
    table = with_effective(pruned[-1][1], network.model, network.prunables, network.data.input_shape)
    folder.write_table("compression.csv", table)
    levels = levels_table(counts, ladder.trained, options.patience)
    save_and_print(folder, clock, trained, training, Results(ladder.trained[0], ladder.trained[-1], table, levels))


@dataclass
class _Ladder:
    """The state that all levels share.

    Attributes:
        start: the state to rewind to (see `Training.state`).
        trained: the rows of every finished training, from the dense network on.
    """

    pruner: Pruner
    folder: RunFolder
    network: MaskedNetwork
    clock: Clock
    stages: Stages
    start: dict[str, Any]
    trained: list[pd.DataFrame]

    def climb(self, level: int) -> tuple[TrainedNetwork, Training]:
        """Prune to the density of `level`, rewind, and train."""
        options, last = self.network.options, level == self.network.options.level
        self.prune(level)
        self.stages.once(f"rewind-{level}", lambda: self._rewind(level))
        trained = TrainedNetwork(self.network, self.stages.clock_before(f"train-{level}"))
        training = self._training(trained, level)
        epochs = options.pre_epochs if training.phase == "pre_train" else options.post_epochs
        try:
            rows = self.stages.train(f"train-{level}", training, epochs, of=f"level {level}", followed=not last)
        except Diverged as error:
            error.rows = pd.concat([rows_by_level(self.trained), error.rows.assign(level=level)])
            raise
        trained.write_back()
        self.folder.write_rows("pre-train.csv", rows_by_level(self.trained if last else [*self.trained, rows]))
        return trained, training

    def prune(self, level: int) -> tuple[dict[str, float], pd.DataFrame | None]:
        """Prune to the density of `level`, once; return the counts, and after the last level its compression table."""
        return self.stages.once(f"prune-{level}", lambda: self._prune(level))

    def _prune(self, level: int) -> tuple[dict[str, float], pd.DataFrame | None]:
        network, options, density = self.network, self.network.options, self._density(level)
        print(f"Level {level} of {options.level}: pruning with {options.pruner} to density {density:.6g}.")
        with self.clock("prune"):
            pruned = network.prune(self.pruner, density, self._density(level - 1), ablate=False)
        table = network.compression_table(pruned)
        self.folder.write_table(f"compression-level-{level}.csv", table)
        self.folder.write_state(f"masks-level-{level}.pt", {p.name: p.mask.bool() for p in network.prunables})
        return counts_of_level(network, level, density, table), table if level == options.level else None

    def _density(self, level: int) -> float:
        """Return the density after `level` levels, on the way from the network's start to `--density`."""
        start, last = self.network.start, self.network.options.level
        density = min(self.network.options.density, start)
        return density if level == last else start * (density / start) ** (level / last)

    def _rewind(self, level: int) -> None:
        """Reset the weights to the start of their training; the masks stay. The last level also applies ablations."""
        if not self.network.options.no_rewind:
            self.network.load(self.start["model"])
        if level == self.network.options.level:
            self.network.ablate()

    def _training(self, trained: TrainedNetwork, level: int) -> Training:
        """Make the training after the pruning of `level`: with optimizer and schedule rewound too, or a fine-tuning."""
        options, last = self.network.options, level == self.network.options.level
        phase = "post_train" if last or options.no_rewind else "pre_train"
        order = f"fine-tune-{level}" if options.no_rewind and not last else phase
        watch = self.folder.events.watch(sum(len(rows) - 1 for rows in self.trained))
        training = Training(trained.network, phase, self.clock, order=order, first=options.rewind_epoch, watch=watch)
        if not options.no_rewind:
            training.restore(trained.shrink(copied(self.start) | {"rows": [], "model": self.network.model.state_dict()}))
        return training
