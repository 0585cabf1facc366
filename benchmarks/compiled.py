"""The rows "compiled against uncompiled": a training step and an evaluation of ResNet20, with and without `--compile`.

Both sides run in one process on the same batches, in the order plain, compiled, compiled, plain, with as many threads as
`main.py` would use. The compilation is not in the times.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.rows import CIFAR, network
from Models.masking import add_masks, hold_masks
from Utils.compute.clock import Clock
from Utils.compute.compilation import PHASE, Compiled
from Utils.compute.precision import Precision
from Utils.options.types import Options
from Utils.training.loops import Batches, test_sums, train_epoch
from Utils.training.optimizers import make_optimizer
from Utils.training.set_up import use_threads

CPU = torch.device("cpu")
SIDES = ("plain", "compiled")
ORDER = ("plain", "compiled", "compiled", "plain")  # of a turn
REPEATS = 6  # turns
COUNT = 5  # batches of a piece of work
TOLERANCE = 5e-3  # share of the loss over `COUNT` steps; bfloat16 needs most of it
ROWS = {
    "step": "a training step, float32, Adam",
    "step-bfloat16": "the same step in bfloat16 autocast (`--quantization`)",
    "evaluate": "evaluation of a batch, float32",
}


class Side:
    """One side of a row: a network, and its compilation if it has one."""

    def __init__(self, row: str, name: str, batches: Batches, compile: bool) -> None:
        self.row, self.model, self.batches = row, network(name), batches
        self.clock = Clock(CPU)
        self.forward = Compiled(self.model, self.clock, wanted=compile)
        self.precision = Precision(CPU, torch.bfloat16 if row == "step-bfloat16" else torch.float32)
        self.optimizer = make_optimizer(self.model, "adam", 0.001, 0.0)
        hold_masks(self.optimizer, add_masks(self.model))

    def work(self) -> float:
        """Train on the batches, or evaluate them; return a loss."""
        if self.row == "evaluate":
            return float(test_sums(self.model, self.batches, self.precision, forward=self.forward)[0][0])
        return float(train_epoch(self.model, self.optimizer, self.batches, precision=self.precision, forward=self.forward))


def measure(repeats: int, rows: Mapping[str, str] = ROWS, name: str = "resnet20", size: int = 64) -> dict[str, dict[str, Any]]:
    """Return the rows' entries in `results.json`, in milliseconds of a batch of `size` images.

    Raises:
        RuntimeError: the network cannot be compiled.
    """
    use_threads(network(name), Options(train_batch_size=size), CIFAR)
    draws = torch.Generator().manual_seed(1)
    batches = [(torch.randn(size, *CIFAR, generator=draws), torch.randint(10, (size,), generator=draws))] * COUNT
    return {row: _entry(row, title, repeats, name, batches) for row, title in rows.items()}


def _entry(row: str, title: str, repeats: int, name: str, batches: Batches) -> dict[str, Any]:
    sides = {side: Side(row, name, batches, side == "compiled") for side in SIDES}
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    with sides["compiled"].forward.phase():
        losses = [sides[side].work() for side in SIDES]
        for side in ORDER * repeats:
            began = time.perf_counter()
            sides[side].work()
            seconds[side].append((time.perf_counter() - began) / COUNT)
    if reason := sides["compiled"].forward.reason:
        raise RuntimeError(reason)
    medians = {side: 1000 * statistics.median(taken) for side, taken in seconds.items()}
    difference = abs(losses[1] - losses[0]) / losses[0]
    compilation = sides["compiled"].clock.seconds[PHASE]
    entry = {"title": title, "unit": "ms", "medians": medians, "seconds": seconds}
    return entry | {"difference": difference, "compilation": compilation}
