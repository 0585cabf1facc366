"""Pruning on the card: SynFlow's rounds, and every method's masks against those of the CPU."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from functools import partial

import torch

import Pruners
from benchmarks.gpu.card import Card, arithmetic
from benchmarks.gpu.cell import DENSITY
from benchmarks.gpu.record import Row
from benchmarks.gpu.sizes import Sizes, shape_of
from benchmarks.gpu.tasks import Part, Task
from benchmarks.gpu.timing import spent
from benchmarks.rows import network
from Models.masking import add_masks
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Utils.compute.memory import PeakMemory

FEWEST, SHARE = 3, 5e-4  # a layer's kept counts may differ by this number, or this share of its weights if that is more


def problem_of(name: str, device: torch.device, images: int) -> Problem:
    """Return the network `name` on `device` with `images` images to score it with, the same on every device."""
    draws = torch.Generator().manual_seed(5)
    batch = torch.randn(images, *shape_of(name), generator=draws).to(device), (torch.arange(images) % 10).to(device)
    model = network(name).to(device)
    return Problem(model, add_masks(model), shape_of(name), read_batches=lambda: [batch])


def synflow_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield one task."""
    yield Task({"network": sizes.large, "density": DENSITY, "rounds": sizes.synflow}, 40, partial(synflow, card, sizes))


def synflow(card: Card, sizes: Sizes) -> Row:
    """Time SynFlow's rounds, and read their peak memory."""
    with arithmetic(False):
        problem, pruner = problem_of(sizes.large, card.device, 0), Pruners.load("synflow")()
        memory, seconds = PeakMemory(card.device), []
        for turn in range(sizes.turns + 1):
            for mask in problem.masks:
                mask.fill_(1)
            memory.reset()
            taken = spent(card, lambda: prune_loop(problem, pruner, DENSITY, rounds=sizes.synflow), 1).seconds
            if turn:  # the first turn warms up
                seconds.append(taken)
    weights = sum(mask.nbytes for mask in problem.masks)
    return {
        "ms a round": 1e3 * statistics.median(seconds) / sizes.synflow,
        "peak GiB": memory.read() / 2**30,
        "peak over the weights": memory.read() / weights,
    }


def masks_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task for every registered method on each network."""
    for name in sizes.networks:
        for pruner in Pruners.names():
            yield Task({"network": name, "pruner": pruner}, 15, partial(compare_masks, card, name, pruner, sizes))


def compare_masks(card: Card, name: str, pruner: str, sizes: Sizes) -> Row:
    """Prune on the card and on the CPU, and compare the counts that each layer keeps."""
    method = Pruners.load(pruner)
    sides = []
    with arithmetic(False):
        for device in (card.device, torch.device("cpu")):
            problem = problem_of(name, device, sizes.images)
            prune_loop(problem, method(), DENSITY, rounds=min(method.rounds, sizes.rounds))
            sides.append([mask.cpu() for mask in problem.masks])
    return compared(*sides)


def compared(some: list[torch.Tensor], others: list[torch.Tensor]) -> Row:
    """Return the row of two lists of masks: their totals, and the layer whose counts differ most, over its tolerance."""
    totals = [sum(int(mask.sum()) for mask in side) for side in (some, others)]
    allowed = [max(FEWEST, SHARE * mask.numel()) for mask in some]
    off = [abs(int(a.sum()) - int(b.sum())) for a, b in zip(some, others, strict=True)]
    worst = max(range(len(off)), key=lambda i: off[i] / allowed[i])
    equal = sum(int((a == b).sum()) for a, b in zip(some, others, strict=True))
    return {
        "totals equal": totals[0] == totals[1],
        "within tolerance": off[worst] <= allowed[worst],
        "difference of the worst layer": off[worst],
        "allowed there": allowed[worst],
        "share of equal entries": equal / sum(mask.numel() for mask in some),
    }


SYNFLOW = Part("A whole round: scores, cut, masks. The peak is what torch has allocated on the card.", synflow_tasks)
MASKS = Part(
    f"Masks of density {DENSITY:g} from the card and from the CPU, in float32. A layer's kept counts may differ by "
    f"{FEWEST}, or by {SHARE:g} of its weights if that is more.",
    masks_tasks,
)
