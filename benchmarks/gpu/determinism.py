"""The work that torch refuses when only deterministic algorithms are allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch

import Pruners
from benchmarks.gpu.card import Card, arithmetic
from benchmarks.gpu.cell import DENSITY, Cell, Variant, variants
from benchmarks.gpu.pruning import problem_of
from benchmarks.gpu.record import Row
from benchmarks.gpu.sizes import Case, Sizes
from benchmarks.gpu.tasks import Part, Task, reason
from Pruners._shared.loop import prune_loop
from Utils.compute.device import use_determinism

NETWORK = "resnet20"  # the network that the methods score


def determinism_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield tasks for every registered method, and for a training step of every network in every variant."""
    for pruner in Pruners.names():
        yield Task({"what": f"{pruner}, {NETWORK}"}, 5, partial(refusal, partial(prune, card, pruner, sizes)))
    for case in {case.network: case for case in sizes.cases}.values():
        for variant in variants(case):
            what = f"a step of {case.network}, {', '.join(variant.labels().values())}"
            yield Task({"what": what}, 5, partial(refusal, partial(train, card, case, variant)))


def prune(card: Card, pruner: str, sizes: Sizes) -> None:
    """Run one round of a method."""
    with arithmetic(False):
        prune_loop(problem_of(NETWORK, card.device, sizes.images), Pruners.load(pruner)(), DENSITY, rounds=1)


def train(card: Card, case: Case, variant: Variant) -> None:
    """Take two steps, as an optimizer's first one differs from the others."""
    with arithmetic(variant.tf32):
        Cell(card, case, variant).steps(2)


def refusal(work: Callable[[], None]) -> Row:
    """Do the work with only deterministic algorithms; an error counts as a result here, not as a failure."""
    before = torch.are_deterministic_algorithms_enabled()
    use_determinism(True)
    try:
        work()
    except RuntimeError as error:
        return {"raises": True, "why": reason(error)}
    finally:
        use_determinism(before)
    return {"raises": False}


DETERMINISM = Part("Work that torch refuses with deterministic algorithms alone (`--deterministic`).", determinism_tasks)
