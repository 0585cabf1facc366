"""The cache of densely trained networks, which all runs of a result folder share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Utils.base.progress_bar import enter_part
from Utils.compute.clock import Clock
from Utils.compute.precision import Precision
from Utils.compute.processes import share
from Utils.options.parts import Affects
from Utils.options.resolve import identity, without_late
from Utils.options.table import affecting
from Utils.options.types import Options
from Utils.runs.cache import CacheEntry, cache_entry, cache_path, precision_fact
from Utils.runs.stages import Stages
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Training

CACHE = "dense-networks"
FINISHED = ("model", "rows", "rewind", "peak")  # the keys of a file there


@dataclass
class DenseNetwork:
    """The outcome of dense training.

    Attributes:
        rows: its rows.
        rewind: the state at `--rewind-epoch`, to which levels return (see `Training.state`); None if no level does.
    """

    rows: pd.DataFrame
    rewind: dict[str, Any] | None


def train_densely(network: MaskedNetwork, clock: Clock, watch: Callable[[Training, int], None] | None = None) -> DenseNetwork:
    """Train `network` for `--pre-epochs`, or load the result if any run of the result folder has done that before.

    An unfinished training, of whichever run, continues from its last checkpoint. `watch` is that of `Training`.
    """
    options = network.options
    training = Training(network, "pre_train", clock, watch=watch)
    beginning = rewind_state(training) if options.level and not options.rewind_epoch else None
    dense = _train_or_load(training, network, clock)
    return DenseNetwork(dense.rows, dense.rewind or beginning)


def _train_or_load(training: Training, network: MaskedNetwork, clock: Clock) -> DenseNetwork:
    with cache_entry(dense_path(network.options, network.precision), *FINISHED) as entry:
        if entry.content is None:
            return _train(training, network, entry)
        if not _respects_masks(network, entry.content["model"]) or _untrained(network, entry.content["model"]):
            return _train(training, network, CacheEntry(None))
        done = entry.content
    network.load(done["model"])
    training.rows = [tuple(row) for row in done["rows"]]
    clock.seconds["pre_train"] += float(training.table()["seconds"].sum())  # the time of the original training
    clock.peaks["pre_train"] = max(clock.peaks["pre_train"], done["peak"])
    if training.watch:
        training.watch(training, training.epochs)
    return DenseNetwork(training.table(), done["rewind"])


def _respects_masks(network: MaskedNetwork, state: dict[str, torch.Tensor]) -> bool:
    """Tell whether the weights in `state` are zero where the network is pruned: an earlier version trained them all."""
    pruned = () if network.survivors is None else zip(network.prunables, network.survivors, strict=True)
    return not any(bool((state[p.name].to(m.device) * (m == 0)).any()) for p, m in pruned)


def _untrained(network: MaskedNetwork, state: dict[str, torch.Tensor]) -> bool:
    """Tell whether the weights in `state` are those before training, which an earlier version could keep with `--patience`."""
    same = ((p.name, p.weight.detach()) for p in network.prunables) if network.options.patience else ()
    return bool(network.options.patience) and all(torch.equal(state[name].to(w.device), w) for name, w in same)


def _train(training: Training, network: MaskedNetwork, entry: CacheEntry) -> DenseNetwork:
    """Train up to `--pre-epochs`, copying the state at `--rewind-epoch` on the way, and write the cache's file."""
    options = network.options
    stages = Stages(entry, options.checkpoint_every, network=network)
    rewind_epoch, rewind = options.rewind_epoch, None
    enter_part("dense")

    def at_rewind_epoch() -> dict[str, Any]:
        training.run(rewind_epoch, whole=False)
        return rewind_state(training)

    if rewind_epoch:
        rewind = stages.once("rewind", at_rewind_epoch)
    rows = stages.train("dense", training, state=lambda: _without_masks(training.state()))
    model, peak = _without_masks(training.state())["model"], training.clock.peaks["pre_train"]
    entry.write({"model": model, "rows": training.rows, "rewind": rewind, "peak": peak})
    return DenseNetwork(rows, rewind)


def rewind_state(training: Training) -> dict[str, Any]:
    """Copy the present state of `training`, without masks and rows, so that another training can begin with it."""
    return copied(_without_masks(training.state()) | {"rows": []})


def _without_masks(state: dict[str, Any]) -> dict[str, Any]:
    """Remove the masks from a state of training (see `Training.state`): the network to restore keeps its own."""
    return state | {"model": {k: v for k, v in state["model"].items() if not k.endswith("_mask")}}


def copied(value: Any) -> Any:
    """Copy nested dicts and lists, cloning every tensor."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    return [copied(v) for v in value] if isinstance(value, list | tuple) else value


def dense_path(options: Options, precision: Precision) -> Path | None:
    """Return the cache's file for the dense network of these options; None if they have none, or save nothing.

    Its name is a hash of everything that the network depends on.
    """
    if not options.pre_epochs or options.no_save:
        return None
    recipe = {*affecting(Affects.DENSE), "contents"}
    chosen = {name: value for name, value in without_late(identity(options)).items() if name in recipe}
    facts = chosen | {"rewind_epoch": options.rewind_epoch, "device": precision.device.type, "torch": torch.__version__}
    facts |= precision_fact(options, precision)
    if share()[1] > 1:
        facts["ranks"] = share()[1]
    return cache_path(options.result_dir, CACHE, facts)
