"""The rows "compact against dense": a network without its dead units against the dense one, both at their fastest.

Both sides run in one process, in turn, on the same batch, in both memory formats (of the network and of its images). The better
format of each side counts. For inference both are folded and their ReLUs work in place. A training step is the runner's: its
optimizer, and on the compact side its masks. The dense side has no masks.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx.experimental import optimization

import Pruners
from benchmarks.rows import CIFAR, network
from Models.compact import compact
from Models.difference import largest_difference
from Models.effective import find_paths
from Models.masking import Prunable, add_masks, apply_masks, hold_masks
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Utils.measure.counting import uses_per_entry
from Utils.training.optimizers import make_optimizer

FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}
SIDES = ("compact", "dense")
REPEATS = 9  # turns; a turn does the work `count` times
TOLERANCE = 1e-5  # share of the largest output
RELUS = {torch.relu: torch.relu_, nn.functional.relu: torch.relu_}
Work = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One line of the table; `target` is the wanted ratio dense / compact."""

    density: float
    work: str
    batch: int
    target: float
    count: int

    @property
    def title(self) -> str:
        """The work in words."""
        done = "inference" if self.work == "inference" else "a training step"
        return f"{done}, batch {self.batch}, density {100 * self.density:g} %"


ROWS = {
    "inference-1%": Row(0.01, "inference", 256, 2.5, 2),
    "training-1%": Row(0.01, "training", 64, 3, 4),
    "inference-0.1%": Row(0.001, "inference", 256, 10, 2),
    "training-0.1%": Row(0.001, "training", 64, 9, 4),
}


@dataclass(frozen=True)
class Networks:
    """A dense network, the same one masked, and the masked one without its dead units, with its prunable parameters."""

    dense: nn.Module
    masked: nn.Module
    small: nn.Module
    prunables: Sequence[Prunable]

    @property
    def macs(self) -> float:
        """The share of the dense network's multiply-adds that the small one keeps."""
        counts = []
        for model in (self.small, self.dense):
            uses = uses_per_entry(model, CIFAR)
            counts.append(sum(p.numel() * uses.get(name, 0) for name, p in model.named_parameters() if p.dim() > 1))
        return counts[0] / counts[1]


def prepare(density: float, name: str = "vgg16-bn", rounds: int = 100) -> Networks:
    """Return the network `name` as `--seed 1` draws it: dense, pruned by SynFlow to `density`, and compact."""
    model = network(name)
    problem = Problem(model, add_masks(model), CIFAR)
    prune_loop(problem, Pruners.load("synflow")(), density, rounds=rounds)
    apply_masks(problem.prunables)
    small = compact(model, problem.prunables, find_paths(model, problem.prunables, CIFAR), CIFAR)
    return Networks(network(name), model, small.model, small.prunables)


def folded(model: nn.Module) -> nn.Module:
    """Copy a network in evaluation mode, with BatchNorm folded into the convolutions and ReLU in place.

    Every network here allows this.
    """
    fast = optimization.fuse(copy.deepcopy(model).eval())
    for node in fast.graph.nodes:
        if node.op == "call_function":
            node.target = RELUS.get(node.target, node.target)
    fast.recompile()
    return fast


def inference(model: nn.Module, layout: torch.memory_format, images: torch.Tensor) -> Work:
    """Return the work of computing the outputs of `images` by the folded network."""
    fast, images = folded(model).to(memory_format=layout), images.contiguous(memory_format=layout)

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return fast(images)

    return work


def training(
    model: nn.Module, prunables: Sequence[Prunable], layout: torch.memory_format, images: torch.Tensor, labels: torch.Tensor
) -> Work:
    """Return the work of a step of Adam on a copy of the network, as `train_epoch` does it; its result is the loss."""
    model, prunables = copy.deepcopy((model, prunables))
    model.to(memory_format=layout).train()
    images = images.contiguous(memory_format=layout)
    optimizer = make_optimizer(model, "adam", 0.001, 0.0)
    hold_masks(optimizer, prunables)

    def work() -> torch.Tensor:
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return work


def batch_of(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw images [size, 3, 32, 32] and labels [size]."""
    draws = torch.Generator().manual_seed(1)
    return torch.randn(size, *CIFAR, generator=draws), torch.randint(10, (size,), generator=draws)


def works(row: Row, networks: Networks) -> dict[tuple[str, str], Work]:
    """Return the work of both sides in both formats."""
    images, labels = batch_of(row.batch)
    models: dict[str, tuple[nn.Module, Sequence[Prunable]]] = {
        "compact": (networks.small, networks.prunables),
        "dense": (networks.dense, []),
    }
    made: dict[tuple[str, str], Work] = {}
    for name, layout in FORMATS.items():
        for side, (model, prunables) in models.items():
            if row.work == "inference":
                made[side, name] = inference(model, layout, images)
            else:
                made[side, name] = training(model, prunables, layout, images, labels)
    return made


def timed(made: Mapping[tuple[str, str], Work], count: int, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Time each work in seconds, by side and format, over `repeats` turns after a warm-up turn."""
    seconds: dict[str, dict[str, list[float]]] = {side: {name: [] for name in FORMATS} for side in SIDES}
    for turn in range(repeats + 1):
        for (side, name), work in made.items():
            began = time.perf_counter()
            for _ in range(count):
                work()
            if turn:
                seconds[side][name].append((time.perf_counter() - began) / count)
    return seconds


def difference(row: Row, networks: Networks) -> float:
    """Return how far each side's outputs differ from the function it stands for, as a share of the largest output.

    For inference it compares the folded networks with the dense and the masked one, in float32. For training it compares the
    compact network with the masked one, in float64 and in both modes.
    """
    images = batch_of(8)[0]
    if row.work == "training":
        return largest_difference(networks.masked, networks.small, images)
    worst = 0.0
    with torch.inference_mode():
        for plain, other in ((networks.dense, networks.dense), (networks.masked, networks.small)):
            a, b = copy.deepcopy(plain).eval()(images), folded(other)(images)
            worst = max(worst, float((a - b).abs().amax() / a.abs().amax()))
    return worst


def measure(repeats: int, rows: Mapping[str, Row] = ROWS, **given: Any) -> dict[str, dict[str, Any]]:
    """Return the rows' entries in `results.json`, in seconds of one piece of work; `given` goes to `prepare`."""
    entries = {}
    pruned = {density: prepare(density, **given) for density in {row.density for row in rows.values()}}
    for name, row in rows.items():
        networks = pruned[row.density]
        seconds = timed(works(row, networks), row.count, repeats)
        medians = {side: {f: 1000 * statistics.median(s) for f, s in formats.items()} for side, formats in seconds.items()}
        entries[name] = {"title": row.title, "unit": "ms", "target": row.target, "medians": medians, "seconds": seconds}
        entries[name] |= {"macs": networks.macs, "difference": difference(row, networks)}
    return entries
