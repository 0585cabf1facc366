"""Multishot: train, prune a little, rewind, and again; then train what is left. `--level-list` says in how many levels.

Level l of n prunes to the density d^(l/n), as in Synaptic-Flow. With rewinding (the lottery ticket procedure: Frankle and
Carbin 2019, arXiv 1803.03635, and from a later epoch Frankle et al. 2020, arXiv 1912.05671) every level trains for
`--pre-epochs` from the same state: weights, BatchNorm statistics, optimizer, schedule. Without it (`--no-rewind`) the dense
network is trained for `--pre-epochs`, and every level fine-tunes for `--post-epochs` after its pruning.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch

from Pruners._shared.base import Pruner
from Utils.compact.trained import TrainedNetwork
from Utils.compute.clock import Clock
from Utils.compute.processes import decided
from Utils.measure.counting import compression_table, totals, with_effective
from Utils.runs.dense_cache import Checkpoints, copied, train_densely, without_masks
from Utils.runs.folder import RunFolder
from Utils.runs.lifecycle import run_once
from Utils.runs.outputs import inference_summary
from Utils.runs.printing import print_inference, print_levels, print_pruning, print_training, print_warnings, read_table
from Utils.runs.summary import pruning_summary, training_summary
from Utils.training.early_stopping import kept_row, validation_summary
from Utils.training.network import Datasets, Subject, set_up
from Utils.training.phase import Diverged, Training


def run(options: argparse.Namespace, datasets: Datasets | None = None) -> None:
    """Take one network through all levels, or print what its finished folder holds; goes on from the last checkpoint.

    Raises:
        Refused: nothing was written.
        RunFailed: the run had begun; its folder says why it failed.
    """
    run_once(options, datasets, _run)


@dataclass
class _Ladder:
    """What all levels share, and what they came to.

    Attributes:
        initial: the `state_dict` that was drawn.
        start: the state to rewind to (see `Training.state`).
        trained: the rows of every finished training, from the dense network on.
        counts: what every pruning left, from the dense network on.
        table: the compression table of the last pruning.
        network: what is trained after it.
    """

    options: argparse.Namespace
    pruner: Pruner
    folder: RunFolder
    subject: Subject
    clock: Clock
    initial: dict[str, torch.Tensor] | None
    start: dict[str, Any]
    trained: list[pd.DataFrame]
    counts: list[dict[str, float]] = field(default_factory=list)
    table: pd.DataFrame | None = None
    network: TrainedNetwork | None = None

    def density(self, level: int) -> float:
        """What is left after `level` levels."""
        last = self.options.level
        return self.options.density if level == last else self.options.density ** (level / last)

    def training(self, level: int) -> Training:
        """The training after the pruning of `level`: from the state rewound to, or fine-tuning."""
        options, subject = self.options, self.network.subject
        last = level == options.level
        phase = "post_train" if last or options.no_rewind else "pre_train"
        order = f"fine-tune-{level}" if options.no_rewind and not last else phase
        rest = (subject.model, subject.prunables, subject.data, options, phase, self.clock)
        watch = self.folder.events.watch(sum(len(rows) - 1 for rows in self.trained))
        return Training(*rest, order=order, first=options.rewind_epoch, watch=watch)

    def rows(self) -> pd.DataFrame:
        """All finished trainings one below the other; `level` is that of the pruning before, 0 in the dense network."""
        return pd.concat([rows.assign(level=level) for level, rows in enumerate(self.trained)], ignore_index=True)

    def count(self, level: int, table: pd.DataFrame) -> None:
        """Note what is left after the pruning of `level`."""
        kept = int(table.loc[table["prunable"], "kept"].sum())
        left = {"level": level, "density_asked": self.density(level) if level else 1.0, "density": kept / self.subject.size}
        self.counts.append(left | {k: v for k, v in totals(table).items() if not k.endswith("_total")})
        self.table = table


def _run(options: argparse.Namespace, pruner: Pruner, folder: RunFolder, datasets: Datasets) -> None:
    subject, clock = set_up(options, pruner, datasets)
    ladder = _begin(options, pruner, folder, subject, clock)
    saved = folder.resume()
    if saved:
        ladder.trained = [pd.DataFrame(rows) for rows in saved["trained"]]
        ladder.counts = saved["counts"]
        ladder.table = decided(lambda: read_table(folder.path / f"compression-level-{saved['level']}.csv"))
        clock.restore(saved["clock"])
    else:
        folder.begin(subject.device)
        folder.write_state("initial.pt", ladder.initial)
        folder.write_state("dense.pt", folder.snapshot(subject.model) if options.pre_epochs else None)
        folder.write_table("pre-train.csv", ladder.rows())
    _finish(ladder, _climb(ladder, saved))


def _begin(options: argparse.Namespace, pruner: Pruner, folder: RunFolder, subject: Subject, clock: Clock) -> _Ladder:
    """Train densely, and keep what to rewind to. A run that goes on finds its dense network in the cache."""
    initial = folder.snapshot(subject.model)
    fresh = Training(subject.model, subject.prunables, subject.data, options, "pre_train", clock)
    start = copied(without_masks(fresh.state()))
    print(f"Pre-Train for {options.pre_epochs} epochs.")
    dense = train_densely(subject, options, clock, folder.events.watch())
    ladder = _Ladder(options, pruner, folder, subject, clock, initial, dense.rewind or start, [dense.rows])
    masks = [p.mask for p in subject.prunables]
    ladder.count(0, compression_table(subject.model, subject.prunables, masks, subject.data.input_shape))
    return ladder


def _climb(ladder: _Ladder, saved: dict[str, Any] | None) -> Training:
    """All levels from the last checkpoint on; returns the training after the last pruning."""
    options = ladder.options
    for level in range(saved["level"] if saved else 1, options.level + 1):
        if saved and saved["level"] == level:
            ladder.network = TrainedNetwork.resume(ladder.subject, saved, ladder.clock)
            training = ladder.training(level)
            training.restore(saved)
            print(f"Going on after epoch {training.epoch} of level {level}.")
        else:
            _prune(ladder, level)
            training = _rewind(ladder, level)
        epochs = options.pre_epochs if training.phase == "pre_train" else options.post_epochs
        try:
            rows = training.run(epochs, Checkpoints(lambda t, level=level: _keep(ladder, t, level), options.checkpoint_every))
        except Diverged as error:
            error.rows = pd.concat([ladder.rows(), error.rows.assign(level=level)])
            raise
        if level < options.level and options.checkpoint_every != 0:
            _keep(ladder, training, level)  # the next pruning need not wait for this level again
        ladder.network.write_back()
        ladder.trained.append(rows)
        ladder.folder.write_table("pre-train.csv", ladder.rows()[lambda rows: rows["level"] < options.level])
    return training


def _prune(ladder: _Ladder, level: int) -> None:
    """Prune to the density of `level`, from that of the level before; the level's table and masks are saved."""
    subject, folder, density = ladder.subject, ladder.folder, ladder.density(level)
    print(f"Level {level} of {ladder.options.level}: pruning with {ladder.options.pruner} to density {density:.6g}.")
    with ladder.clock("prune"):
        scores = subject.prune(ladder.pruner, density, ladder.density(level - 1) if level > 1 else 1.0, ablate=False)
    table = compression_table(subject.model, subject.prunables, scores, subject.data.input_shape)
    ladder.count(level, table)
    folder.write_table(f"compression-level-{level}.csv", table)
    folder.write_state(f"masks-level-{level}.pt", {p.name: p.mask.bool() for p in subject.prunables})


def _rewind(ladder: _Ladder, level: int) -> Training:
    """Put the network back to where it is to be trained from; the masks stay. Ablations come with the last level."""
    subject, start = ladder.subject, None if ladder.options.no_rewind else copied(ladder.start) | {"rows": []}
    if start:
        subject.load(start["model"])
    if level == ladder.options.level:
        subject.ablate()
    ladder.network = TrainedNetwork(subject, ladder.clock)
    training = ladder.training(level)
    if start:
        training.restore(ladder.network.shrink(start | {"model": subject.model.state_dict()}))
    return training


def _keep(ladder: _Ladder, training: Training, level: int) -> None:
    """A checkpoint inside the training after `level`."""
    trained = [{name: rows[name].tolist() for name in rows} for rows in ladder.trained]
    past = {"level": level, "trained": trained, "counts": ladder.counts, "clock": training.clock.state()}
    ladder.folder.write_checkpoint(training.state() | ladder.network.state() | past, changing=("pre-train.csv", "post-train.csv"))


def _finish(ladder: _Ladder, training: Training) -> None:
    """The tables of the whole run, its end state and its summary."""
    folder, subject = ladder.folder, ladder.subject
    # As in Synaptic-Flow the scores are those before ablations; which units live is known only after them.
    post, table = training.table(), with_effective(ladder.table, subject.model, subject.prunables, subject.data.input_shape)
    folder.write_table("compression.csv", table)
    folder.write_table("post-train.csv", post)
    pairs = zip(ladder.counts, ladder.trained, strict=True)
    levels = pd.DataFrame([left | _outcome(rows, ladder.options.patience) for left, rows in pairs])
    folder.write_table("levels.csv", levels)
    # Before it is measured: a measurement that fails is not worth a trained network.
    folder.write_state("model.pt", subject.model.state_dict())
    folder.write_state("model-compact.pt", ladder.network.small_state())
    folder.write_state("optimizer.pt", training.optimizer.state_dict())
    folder.write_state("scheduler.pt", training.scheduler.state_dict())
    patience = ladder.options.patience
    summary = pruning_summary(folder, subject, table, ladder.clock) | training_summary(post, subject.data, patience)
    summary |= ladder.network.summary() | inference_summary(ladder.network.subject, folder)
    print_training(ladder.trained[0], post, patience)
    print_levels(levels)
    print_pruning(table, summary)
    print_inference(summary["inference"])
    print_warnings(summary)
    folder.finish(summary)


def _outcome(rows: pd.DataFrame, patience: int | None) -> dict[str, float]:
    """What the training of one level's network came to; `epochs` is the last one, `top1_best` as in the summary."""
    last, validated = kept_row(rows, patience), validation_summary(rows, patience)
    ends = {"test_loss_last": last["test_loss"], "top1_last": last["top1_accuracy"], "top5_last": last["top5_accuracy"]}
    best = rows.loc[rows["val_top1" if validated else "top1_accuracy"].idxmax(), "top1_accuracy"]
    chosen = {key: validated[key] for key in ("val_top1_last", "kept_epoch") if key in validated}
    return {"epochs": int(rows["epoch"].iloc[-1])} | ends | {"top1_best": best} | chosen
