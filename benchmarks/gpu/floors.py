"""The best that the card can do: bytes and operations a second, and the latency of a kernel in a graph."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.gpu.card import Card, arithmetic
from benchmarks.gpu.record import Row
from benchmarks.gpu.sizes import Sizes
from benchmarks.gpu.tasks import Part, Task
from benchmarks.gpu.timing import measure

PRODUCTS = {"float32": (torch.float32, False), "TF32": (torch.float32, True), "bf16": (torch.bfloat16, True)}


def floors_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield tasks for a copy, for products of matrices, and for chains of kernels on a growing number of streams."""
    yield Task({"what": f"copy of {sizes.copied} bytes, read and written"}, 5, partial(copy, card, sizes))
    for name in PRODUCTS:
        yield Task({"what": f"product of {sizes.matrix} x {sizes.matrix}, {name}"}, 5, partial(product, card, sizes, name))
    for elements in sizes.elements:
        for streams in sizes.streams:
            what = f"{sizes.kernels} kernels of {elements} numbers in a graph, on each of {streams} streams"
            yield Task({"what": what}, 5, partial(chains, card, sizes, elements, streams))


def copy(card: Card, sizes: Sizes) -> Row:
    """Measure the bytes a second that a copy on the device reads and writes."""
    source, target = (torch.ones(sizes.copied, dtype=torch.uint8, device=card.device) for _ in range(2))
    seconds = measure(card, lambda: target.copy_(source), sizes).seconds
    return {"value": 2 * sizes.copied / seconds / 1e12, "unit": "TB/s"}


def product(card: Card, sizes: Sizes, name: str) -> Row:
    """Measure the operations a second of a product of square matrices, two for each multiply-add."""
    dtype, tf32 = PRODUCTS[name]
    with arithmetic(tf32):
        a, b = (torch.randn(sizes.matrix, sizes.matrix, device=card.device).to(dtype) for _ in range(2))
        seconds = measure(card, lambda: a @ b, sizes).seconds
    return {"value": 2 * sizes.matrix**3 / seconds / 1e12, "unit": "TFLOP/s"}


def chains(card: Card, sizes: Sizes, elements: int, streams: int) -> Row:
    """Measure the microseconds of a kernel in graphs of kernels that wait for each other, one graph on each stream."""
    replays = []
    for _ in range(streams):
        numbers, stream = torch.randn(elements, device=card.device), card.stream()

        def chain(numbers: torch.Tensor = numbers) -> None:
            for _ in range(sizes.kernels):
                numbers.relu_()

        card.wait()
        with card.on(stream):
            chain()
        replays.append(card.capture(chain, stream))
    seconds = measure(card, lambda: [replay() for replay in replays], sizes).seconds
    return {"value": 1e6 * seconds / sizes.kernels / streams, "unit": "us a kernel"}


FLOORS = Part(
    "The best that the card can do. Kernels of one graph wait for each other, those of other streams need not. The time of a "
    "kernel is that of all graphs at once, over all of their kernels.",
    floors_tasks,
)
