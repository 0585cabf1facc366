"""The training of several networks at once, each a captured graph on its own stream."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.gpu.card import Card, Work, arithmetic
from benchmarks.gpu.cell import WARM_UP, Cell, Variant, difference
from benchmarks.gpu.record import Row
from benchmarks.gpu.sizes import Case, Sizes
from benchmarks.gpu.tasks import Part, Task
from benchmarks.gpu.timing import measure


def cells_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield tasks of each network with TF32 and, if it convolves, in bfloat16, for a growing number of its cells."""
    for case in sizes.cases:
        variants = [Variant(True, half, "channels last") for half in (False, True)]
        for variant in [Variant(True, False, "contiguous")] if case.network == "fc" else variants:
            together = Together(card, case, variant, sizes)
            for count in sizes.cells:
                yield Task(case.labels() | variant.labels() | {"cells": count}, 5 + count, partial(together.measure, count))


class Together:
    """Cells of one case that start alike, so that all of them must reach the same bits."""

    def __init__(self, card: Card, case: Case, variant: Variant, sizes: Sizes) -> None:
        self.card, self.case, self.variant, self.sizes = card, case, variant, sizes
        self.cells: list[Cell] = []
        self.replays: list[Work] = []
        self.start: list[torch.Tensor] = []
        self.alone: list[torch.Tensor] = []  # the state of a cell that was trained alone

    def measure(self, count: int) -> Row:
        """Time a step of `count` cells at once; missing cells are made first."""
        with arithmetic(self.variant.tf32):
            while len(self.cells) < count:
                self._add()
            same = all(difference(state, self.alone) == 0 for state in self._compared())
            timing = measure(self.card, self._step, self.sizes)
        for cell in self.cells:
            cell.check_masks()
        self.card.free()
        return {
            "ms a step of all": 1e3 * timing.seconds,
            "host ms a step of all": 1e3 * timing.host,
            "seconds an epoch and cell": self.case.epoch(timing.seconds) / count,
            "GiB": self.card.reserved(),
            "bits of one alone": same,
        }

    def _add(self) -> None:
        """Make, warm up and capture one more cell, all on its own stream."""
        cell = Cell(self.card, self.case, self.variant)
        cell.steps(WARM_UP)
        self.start = self.start or cell.state()
        replay = cell.capture()
        self.cells.append(cell)
        self.replays.append(replay)
        if not self.alone:
            (self.alone,) = self._compared()

    def _step(self) -> None:
        for replay in self.replays:
            replay()

    def _compared(self) -> Iterator[list[torch.Tensor]]:
        """Yield the state of each cell after some steps of all at once, one state at a time."""
        for cell in self.cells:
            cell.put_back(self.start)
        for _ in range(self.sizes.compared):
            self._step()
        for cell in self.cells:
            yield cell.state()


CELLS = Part(
    "Captured steps at once, each network warmed up and captured on a stream of its own and with memory of its own. The host "
    "starts them one after the other in each step. GiB is what torch holds on the card, copies for the comparison included.",
    cells_tasks,
)
