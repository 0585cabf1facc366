"""When a checkpoint is due, and the cache of densely trained networks that all runs of a result folder share."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Utils.base.errors import Refused
from Utils.base.files import leftovers
from Utils.base.locks import Lock
from Utils.base.tensor_files import seal, unseal
from Utils.compute.clock import Clock
from Utils.compute.processes import decided, is_first, share
from Utils.options.resolve import identity
from Utils.runs.places import YOUNG
from Utils.training.network import Subject
from Utils.training.phase import Training

SLOW, LONG = 2.0, 10.0  # seconds: an epoch of this length gets a checkpoint of its own; the time to let pass otherwise
CACHE = "dense-networks"
FINISHED = ("model", "rows", "rewind", "peak")  # what a file there holds
# What a densely trained network depends on, beside the device and the version of torch.
RECIPE = (
    "dataset", "image_size", "augment", "model", "model_class", "dense_classifier", "pretrained", "weights", "contents",
    "optimizer", "train_batch_size", "test_batch_size", "pre_epochs", "lr", "lr_drops", "lr_drop_rate", "weight_decay",
    "lr_schedule", "lr_warmup", "quantization", "val_fraction", "patience",
    "seed", "deterministic",
)  # fmt: skip


class Checkpoints:
    """Calls `write(training)` after the epochs that `--checkpoint-every` names.

    By default that is each epoch of two seconds or more, and any epoch once ten seconds have passed since the last time.
    """

    def __init__(self, write: Callable[[Training], None], every: int | None) -> None:
        self._write, self._every = write, every
        self._written = self._epoch_began = time.monotonic()

    def __call__(self, training: Training) -> None:
        """Write a checkpoint if one is due."""
        now = time.monotonic()
        if self._every is None:
            due = now - self._epoch_began >= SLOW or now - self._written >= LONG
        else:
            due = self._every > 0 and training.epoch % self._every == 0
        if due:
            self._write(training)
            self._written = now
        self._epoch_began = time.monotonic()


@dataclass
class DenseNetwork:
    """What dense training came to: its rows, and the state at `--rewind-epoch` if that is not 0 (see `Training.state`)."""

    rows: pd.DataFrame
    rewind: dict[str, Any] | None


def train_densely(
    subject: Subject, options: argparse.Namespace, clock: Clock, watch: Callable[[Training, int], None] | None = None
) -> DenseNetwork:
    """Train for `--pre-epochs`, or take the network from the cache where this was done before, by whichever run.

    The network of `subject` is trained afterwards. Two processes that want the same network train it once: the second waits.
    A training that was broken off goes on from its last checkpoint. `watch` is that of `Training`.
    """
    training = Training(subject.model, subject.prunables, subject.data, options, "pre_train", clock, watch=watch)
    rewind_epoch = getattr(options, "rewind_epoch", 0)
    path = dense_path(options, subject.device)
    if path is None:
        return _train(training, options.pre_epochs, rewind_epoch)
    for file in (path, path.with_suffix(".checkpoint")):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise Refused(f"{file} is no file: take it away, dense networks are kept there")
    lock = Lock(path.with_suffix(".lock"))
    try:
        done = decided(lambda: _finished(path, lock))
        if done is None:
            return _train_into(path, training, options, rewind_epoch)
    finally:
        lock.leave()
    subject.load(done["model"])
    training.rows = [tuple(row) for row in done["rows"]]
    clock.seconds["pre_train"] += float(training.table()["seconds"].sum())  # what it took when it was done
    clock.peaks["pre_train"] = max(clock.peaks["pre_train"], done["peak"])
    if watch:
        watch(training, options.pre_epochs)
    return DenseNetwork(training.table(), done["rewind"])


def _finished(path: Path, lock: Lock) -> dict[str, Any] | None:
    """What is in `path`; waits for whoever is making it, and returns None with the lock held where nobody is."""
    done = unseal(path, *FINISHED)
    if done is None:
        lock.take()
        done = unseal(path, *FINISHED)
    elif lock.path.exists() or path.with_suffix(".checkpoint").exists():
        lock.take(0)  # whoever made it was killed at the very end
    if done is not None and lock.held:
        path.with_suffix(".checkpoint").unlink(missing_ok=True)
    return done


def _train_into(path: Path, training: Training, options: argparse.Namespace, rewind_epoch: int) -> DenseNetwork:
    """Train, with checkpoints beside `path`, and write `path`."""
    half = path.with_suffix(".checkpoint")
    if is_first():
        for name, leftover in leftovers(path.parent):
            if name in (path.name, half.name):  # the lock is ours
                leftover.unlink(missing_ok=True)
    saved = decided(lambda: unseal(half, "model", "rows", "rewind"))
    if saved:
        training.restore(saved)
    network = DenseNetwork(training.table(), saved["rewind"] if saved else None)

    def write(now: Training) -> None:
        if is_first():
            seal(half, without_masks(now.state()) | {"rewind": network.rewind})

    network = _train(training, options.pre_epochs, rewind_epoch, network, Checkpoints(write, options.checkpoint_every))
    if is_first():
        state = without_masks(training.state())
        seal(path, {"model": state["model"], "rows": state["rows"], "rewind": network.rewind,
                    "peak": training.clock.peaks["pre_train"]})  # fmt: skip
        half.unlink(missing_ok=True)
    return network


def _train(
    training: Training,
    epochs: int,
    rewind_epoch: int,
    network: DenseNetwork | None = None,
    after_epoch: Checkpoints | None = None,
) -> DenseNetwork:
    """Train up to `epochs`, copying the state at `rewind_epoch` into `network` on the way."""
    network = network or DenseNetwork(training.table(), None)
    if rewind_epoch and network.rewind is None:
        training.run(rewind_epoch, whole=False)
        network.rewind = copied(without_masks(training.state()) | {"rows": []})
    network.rows = training.run(epochs, after_epoch)
    return network


def without_masks(state: dict[str, Any]) -> dict[str, Any]:
    """A state of training (see `Training.state`) that leaves the masks of the network it is restored to as they are."""
    return state | {"model": {k: v for k, v in state["model"].items() if not k.endswith("_mask")}}


def copied(value: Any) -> Any:
    """Nested dicts and lists with every tensor cloned."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    return [copied(v) for v in value] if isinstance(value, list | tuple) else value


def dense_path(options: argparse.Namespace, device: torch.device) -> Path | None:
    """Where the cache keeps the dense network of these options: named by all that it depends on. None if there is none."""
    if not getattr(options, "pre_epochs", 0) or options.no_save:
        return None
    chosen = {k: v for k, v in identity(options).items() if k in RECIPE and (v or k not in YOUNG)}
    facts = chosen | {"rewind_epoch": getattr(options, "rewind_epoch", 0), "device": device.type, "torch": torch.__version__}
    if share()[1] > 1:
        facts["ranks"] = share()[1]
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    return Path(options.result_dir, CACHE, f"{key}.bin")
