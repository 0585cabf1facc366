"""The content of `summary.json`; `summary_keys` declares its keys."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from Models.reach import has_path
from Utils.compute.clock import Clock
from Utils.compute.compilation import PHASE as COMPILE
from Utils.data.dataset import Dataset
from Utils.measure.counting import effective_density, emptied_layers, kept_by_position, left_dense, totals, unused
from Utils.measure.thop_count import thop_summary
from Utils.options.types import Options
from Utils.runs import summary_keys
from Utils.runs.folder import SCHEMA, RunFolder
from Utils.training.early_stopping import best_row, kept_row, validation_summary
from Utils.training.masked_network import MaskedNetwork

MEMORY = {"pre_train": "dense", "prune": "prune", "post_train": "train", "eval": "evaluate"}
PHASES = ("data", "pre_train", "prune", "post_train", "eval")
LEARNT = 0.999  # a network with a test loss at or above this share of the class-frequency loss is untrained


def failed_summary(folder: RunFolder, reason: str) -> dict[str, Any]:
    """Make the summary of a run that could not be finished."""
    return _heading(folder.options, folder.expid) | {"status": "failed", "reason": reason}


def study_summary(folder: RunFolder, results: dict[str, Any]) -> dict[str, Any]:
    """Make the summary of a study that has `results` of its own."""
    return _heading(folder.options, folder.expid) | results


def pruning_summary(folder: RunFolder, network: MaskedNetwork, table: pd.DataFrame, clock: Clock) -> dict[str, Any]:
    """Make the summary of a pruned network: counts, flags, costs and precision."""
    kept = int(table.loc[table["prunable"], "kept"].sum())
    return (
        _heading(folder.options, folder.expid)
        | totals(table)
        | {
            "density_asked": folder.options.density,
            "density": kept / network.size,
            "effective_density": effective_density(table),
            "collapsed": not has_path(network.model, network.prunables, network.data.input_shape),
            "collapsed_layers": emptied_layers(table),
            **kept_by_position(table),
            "unused_layers": list(unused(table)),
            **costs(clock),
            "precision": str(network.precision),
            "inference": {},
        }
        | left_dense_summary(table)
        | (thop_summary(table, network.model, network.thop) if folder.options.thop else {})
    )


def left_dense_summary(table: pd.DataFrame) -> dict[str, Any]:
    """Return the layers whose weights cannot be pruned, with their shares of all weights; nothing if there are none."""
    shares = left_dense(table)
    return {"left_dense": shares, "left_dense_share": sum(shares.values())} if shares else {}


def costs(clock: Clock) -> dict[str, Any]:
    """Return the seconds and peak memory of the phases of a run; seconds of compilation only if there was one."""
    phases = (*PHASES, *({COMPILE} & clock.seconds.keys()))
    return {
        "seconds": {phase: clock.seconds.get(phase, 0.0) for phase in phases},
        "peak_memory_bytes": {word: clock.peaks[phase] for phase, word in MEMORY.items() if phase in clock.peaks},
        "peak_memory_of": clock.memory.of,
    }


def untrained_summary() -> dict[str, Any]:
    """Return the keys of `training_summary` with the value None, for a network that was not trained."""
    return {key.name: None for key in summary_keys.KEYS if key.trained}


def training_summary(post: pd.DataFrame, data: Dataset, patience: int | None = None) -> dict[str, Any]:
    """Return the results of the training after pruning: of the last epoch, which is the headline, and of the best one.

    With `--patience` the headline is the epoch whose network is kept. If images are held out, they determine the best epoch.
    """
    last, best = kept_row(post, patience), best_row(post)
    return {
        "untrained": bool(not last["test_loss"] < LEARNT * class_frequency_loss(data)),
        "top1_last": float(last["top1_accuracy"]),
        "top5_last": float(last["top5_accuracy"]),
        "top1_best": float(best["top1_accuracy"]),
        "best_epoch": int(best["epoch"]),
        "test_loss_last": float(last["test_loss"]),
        **validation_summary(post, patience),
    }


def class_frequency_loss(data: Dataset) -> float:
    """Return the mean test cross-entropy of always predicting the training set's class frequencies.

    It is infinite if a class of the test set has the frequency 0.
    """
    counts = torch.bincount(data.train_labels, minlength=data.num_classes).double()
    return float(-(counts / counts.sum()).log()[data.test_labels].mean())


def _heading(options: Options, expid: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "status": "done",
        "experiment": options.experiment,
        "expid": expid,
        "options": options.record() | {"expid": expid},
        **({"seed": options.seed} if options.reads("seed") else {}),
    }
