"""A cell of density 1 in a grid: it is the dense network, whose training by the grid's dense cell is taken over.

A method that keeps every weight leaves the network, the recipe and the data order of the dense cell, so that training it again
would repeat the same numbers. The cell's folder has its own scores, tables and measurements, and all files of a run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Pruners import DENSE
from Utils.base import turns
from Utils.base.checksums import check_file, damaged
from Utils.base.csv_files import read_named
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.base.locks import is_locked
from Utils.base.tensor_files import read_tensor_file
from Utils.compute.processes import share
from Utils.options.table import incidental, of_parts
from Utils.runs.folder import RunFolder
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Training

PAUSE = 0.1  # seconds between two looks at a dense cell that is being trained
# Keys of `args.json` that do not matter where every weight is kept and the networks before the training are the same.
FREE = {
    "expid", "argv", "commit", "dirty", "machine", "checksum", "pruner", "compression", "density", "sparsity", "prune_epochs",
    "compression_schedule", "mask_scope", "mask_distribution", "prune_dataset_ratio", "prune_batch_size", "prune_train_mode",
    "shuffle", "invert", "save_trace", *of_parts("updates", "counting"),
}  # fmt: skip


def same_training(folder: RunFolder, network: MaskedNetwork) -> Path | None:
    """Find the dense cell of the grid whose training is that of this cell; None if there is none.

    It has the same recipe, epochs, device and versions, and the same network before the training. This waits for such a cell
    while another process, or another cell of this one, is training it. `network` is pruned, and not trained yet.
    """
    options = folder.options
    alone = options.compact or options.reinitialize or options.tensorboard or share()[1] > 1
    if not folder.saves or alone or options.density < 1 or options.pruner == DENSE or not options.post_epochs:
        return None
    if network.kept < network.size:  # it was pruned before the command
        return None
    return next((cell for cell in _dense_cells(folder.path) if _trains_the_same(cell, folder.path, network)), None)


def take_over(cell: Path, training: Training) -> pd.DataFrame:
    """Put network, optimizer, schedule and rows at the end of the training of `cell` in place of `training`; return the rows.

    Its seconds and peak memory are those of that training.
    """
    print(f"Network, recipe and epochs are those of the cell {cell.name}: its training is taken over.")
    rows = read_named(cell / "post-train.csv")
    values = rows[list(training.columns)].itertuples(index=False)
    training.rows = [tuple(None if pd.isna(value) else value for value in row) for row in values]
    training.model.load_state_dict(read_tensor_file(cell / "model.pt"))
    training.optimizer.load_state_dict(read_tensor_file(cell / "optimizer.pt"))
    training.scheduler.load_state_dict(read_tensor_file(cell / "scheduler.pt"))
    peaks, clock = read_json(cell / "summary.json").get("peak_memory_bytes") or {}, training.clock
    clock.seconds["post_train"] += float(rows["seconds"].sum())
    if peaks.get("train"):
        clock.peaks["post_train"] = max(clock.peaks["post_train"], peaks["train"])
    return training.table()


def _dense_cells(cell: Path) -> Iterator[Path]:
    """Yield the folders of the dense cells of the grid that `cell` is in, of its model, seed and part; none without a grid."""
    try:
        listed = read_json(cell.parent / "args.json").get("cells", [])
    except Refused:
        return
    own = set(cell.name.split(","))
    for name in map(str, listed):
        words = set(name.split(","))
        if f"pruner={DENSE}" in words and words - {f"pruner={DENSE}"} <= own:
            yield cell.parent / name


def _trains_the_same(dense: Path, cell: Path, network: MaskedNetwork) -> bool:
    while is_locked(dense / ".lock"):
        if _same_recipe(dense, cell) is False:
            return False
        if not turns.pause():
            time.sleep(PAUSE)
    try:
        summary = read_json(dense / "summary.json")
        if summary.get("status") != "done" or damaged(dense, summary) or not _same_recipe(dense, cell):
            return False
        start = dense / ("dense.pt" if network.options.pre_epochs else "initial.pt")
        check_file(start)
        before = read_tensor_file(start)
    except (Refused, OSError):
        return False
    now = network.model.state_dict()
    return before.keys() == now.keys() and all(torch.equal(before[name].to(t.device), t) for name, t in now.items())


def _same_recipe(dense: Path, cell: Path) -> bool | None:
    """Tell whether two cells have the same recipe, device and versions; None if the dense cell has not written them yet."""
    try:
        return _compared(read_json(dense / "args.json")) == _compared(read_json(cell / "args.json"))
    except Refused:
        return None


def _compared(recorded: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recorded.items() if name not in FREE and name not in incidental()}
