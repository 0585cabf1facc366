"""The training of one network: the textbook's loop, eager steps, steps captured as graphs."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks import textbook
from benchmarks.gpu.card import Card, arithmetic
from benchmarks.gpu.cell import WARM_UP, Cell, Variant, difference, variants
from benchmarks.gpu.record import Row
from benchmarks.gpu.sizes import Case, Sizes
from benchmarks.gpu.tasks import Part, Task
from benchmarks.gpu.timing import Timing, measure, spent
from benchmarks.rows import network
from Utils.compute.compilation import PHASE


def _numbers(case: Case, timing: Timing) -> Row:
    return {
        "ms a step": 1e3 * timing.seconds,
        "host ms a step": 1e3 * timing.host,
        "seconds an epoch": case.epoch(timing.seconds),
    }


def textbook_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task of the textbook's loop for each network."""
    for case in sizes.cases:
        yield Task(case.labels(), 15, partial(textbook_steps, card, case, sizes))


def textbook_steps(card: Card, case: Case, sizes: Sizes) -> Row:
    """Time steps of the textbook's loop, its loader included, with torch's own settings."""
    model = textbook.masked(network(case.network)).to(card.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    if case.optimizer == "momentum":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9, nesterov=True)
    loader = textbook.mnist_loader(True, case.batch) if case.network == "fc" else textbook.cifar_loader(case.batch)

    def steps() -> None:
        batches = itertools.islice(loader, sizes.textbook)
        textbook.train_epoch(model, optimizer, ((x.to(card.device), y.to(card.device)) for x, y in batches))

    steps()
    step = statistics.median(spent(card, steps, 1).seconds for _ in range(sizes.turns)) / sizes.textbook
    return _numbers(case, Timing(step, step))


def eager_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task for each network in each variant."""
    for case in sizes.cases:
        for variant in variants(case):
            yield Task(case.labels() | variant.labels(), 8, partial(eager_steps, card, case, variant, sizes))


def eager_steps(card: Card, case: Case, variant: Variant, sizes: Sizes) -> Row:
    """Time eager steps."""
    with arithmetic(variant.tf32):
        cell = Cell(card, case, variant)
        with card.on(cell.stream):
            timing = measure(card, cell.step, sizes)
    cell.check_masks()
    return _numbers(case, timing)


def captured_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task for each network in each variant."""
    for case in sizes.cases:
        for variant in variants(case):
            yield Task(case.labels() | variant.labels(), 10, partial(captured_steps, card, case, variant, sizes))


def captured_steps(card: Card, case: Case, variant: Variant, sizes: Sizes, cell: Cell | None = None) -> Row:
    """Time replays of a captured step, after a check whether they give the bits of eager steps from the same start."""
    with arithmetic(variant.tf32):
        cell = cell or Cell(card, case, variant)
        cell.steps(WARM_UP)
        start, eager = cell.state(), []
        for _ in range(2):
            cell.steps(sizes.compared)
            eager.append(cell.state())
            cell.put_back(start)
        replay = cell.capture()
        for _ in range(sizes.compared):
            replay()
        off = difference(eager[0], cell.state())
        timing = measure(card, replay, sizes)
    cell.check_masks()
    compared: Row = {"bits of eager steps": off == 0, "largest difference": off}
    return _numbers(case, timing) | compared | {"eager steps repeat themselves": difference(*eager) == 0}


def compiled_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task of the first ResNet20 with TF32, and one in bfloat16."""
    case = next(case for case in sizes.cases if case.network == "resnet20")
    for half in (False, True):
        variant = Variant(True, half, "channels last", compiled=True)
        yield Task(case.labels() | variant.labels(), 120, partial(compiled_steps, card, case, variant, sizes))


def compiled_steps(card: Card, case: Case, variant: Variant, sizes: Sizes) -> Row:
    """Time replays of a captured step of a compiled network.

    Raises:
        RuntimeError: the network cannot be compiled.
    """
    cell = Cell(card, case, variant)
    with cell.forward.phase():
        row = captured_steps(card, case, variant, sizes, cell)
        if cell.forward.reason:
            raise RuntimeError(cell.forward.reason)
    return row | {"seconds to compile": cell.clock.seconds[PHASE]}


STEPS = "The batch stays on the device, no data are loaded. "
TEXTBOOK = Part(
    "`benchmarks/textbook.py`: a `DataLoader` with PIL transforms in the process, masks multiplied in each forward, the loss "
    "read in each step, so that the host waits; torch's own settings.",
    textbook_tasks,
)
EAGER = Part(
    STEPS + "Forward, loss, backward, fused optimizer and masks, launched one by one. Channels last is the format of images, "
    "parameters and masks. Host is the time to issue a step.",
    eager_tasks,
)
CAPTURED = Part(
    STEPS + "The same step as one CUDA graph. The bits compared are those of parameters, statistics, optimizer and loss.",
    captured_tasks,
)
COMPILED = Part(
    STEPS + "The same step as one CUDA graph of the inductor's kernels (`--compile`). The bits compared are those of compiled "
    "steps without a graph. The compilation is not in the times of the steps.",
    compiled_tasks,
)
