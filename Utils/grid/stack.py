"""Several cells of a grid at once in one process: they take turns, and meet for each epoch of training and each evaluation.

What they meet for is done together (`Utils/training/together.py`). Every cell has the numbers that it has alone, bit for bit.
"""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from Models.chain import linear_chain
from Pruners import load
from Utils.base.turns import Kept, Turn, leave
from Utils.compute.device import device_of
from Utils.compute.graphs import draws_numbers
from Utils.data.open_set import Datasets
from Utils.grid.cell import Outcome, run_cell
from Utils.options.table import of_parts
from Utils.options.types import Cell, Options
from Utils.training.masked_network import build_dense
from Utils.training.together import Answer, together

CARD = 8  # cells at once on a card where --stack was not given
SETTLED = 3  # meetings after which a cell has the memory that it needs: an evaluation, an epoch, an evaluation
PAUSE = 0.1  # seconds between two looks at files that all cells wait for
KEPT = (
    Kept(lambda: (sys.stdout, sys.stderr), lambda streams: vars(sys).update(stdout=streams[0], stderr=streams[1])),
    Kept(torch.get_rng_state, torch.set_rng_state),
    Kept(random.getstate, random.setstate),
    Kept(np.random.get_state, np.random.set_state),
)


def size_of_stack(options: Options) -> int:
    """Return the largest number of cells that one process runs at once: `--stack`, or by default several on a card."""
    if not options.reads("stacks"):
        return 1
    return options.stack or (CARD if device_of(options).type == "cuda" else 1)


def note_on_stack(options: Options, model: nn.Module) -> str:
    """Return a NOTE if `--stack` was given and `model`, on a CPU, cannot be stacked; "" otherwise."""
    if (options.stack or 1) == 1 or device_of(options).type != "cpu" or linear_chain(model) is not None:
        return ""
    return (
        f"NOTE: --stack {options.stack}: on a CPU the cells of {options.model} run one by one, because it has other layers than "
        "linear ones with ReLU between them"
    )


class Stackable:
    """Tells which cells gain from others beside them; each network is built once."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._networks: dict[str, bool] = {}

    def __call__(self, options: Options) -> bool:
        """Tell whether a cell may take turns: on a card by its graphs, on a CPU as a chain of linear layers.

        A network that draws random numbers in training runs alone, as all cells of a process share one generator on a card.
        """
        if options.stack == 1 or options.compile or not options.reads("stacks") or not options.pre_epochs + options.post_epochs:
            return False
        on_card = device_of(options).type == "cuda"
        moving = load(options.pruner).growth
        if options.no_graph or options.optimizer == "rms" if on_card else moving or options.compact or options.quantization:
            return False
        return self._fits_beside_others(options, on_card)

    def _fits_beside_others(self, options: Options, on_card: bool) -> bool:
        names = of_parts("dataset", "image", "network", "model")
        key = str([on_card, *(getattr(options, name) for name in names)])
        if key not in self._networks:
            data = self._datasets.open(options, torch.device("cpu"))
            model = build_dense(options, data, torch.device("cpu"))
            fits = not draws_numbers(model, data.input_shape) if on_card else linear_chain(model) is not None
            self._networks[key] = fits
        return self._networks[key]


class Stack:
    """The cells of a process, for use in a `with` block: up to `size` of them take turns, others run one by one."""

    def __init__(self, size: int, datasets: Datasets) -> None:
        self.size, self._datasets, self._stackable = size, datasets, Stackable(datasets)
        self._waiting: deque[tuple[str, Options]] = deque()
        self._apart: deque[tuple[str, Options]] = deque()  # those that take no turns
        self._turns: dict[str, Turn] = {}
        self._begun: dict[str, tuple[Options, bool]] = {}  # the options of those that take turns, and whether others were there
        self._answers: dict[str, Answer] = {}
        self._met: dict[str, int] = {}

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        leave(self._turns.values())

    def __len__(self) -> int:
        """Count the cells that have not ended."""
        return self.begun + len(self._apart)

    @property
    def begun(self) -> int:
        """The number of cells that take turns, or may begin to."""
        return len(self._waiting) + len(self._turns)

    def add(self, name: str, options: Options) -> None:
        """Take a cell, which begins when there is room for it."""
        self._waiting.append((name, options))

    def go_on(self) -> list[tuple[str, Outcome]]:
        """Let each cell work up to the next meeting, do what they meet for, and return the cells that have ended."""
        ended = self._begin()
        for name, turn in self._turns.items():
            if not turn.asked or name in self._answers:
                turn.go_on(*self._answers.get(name, Answer()))
        over = {name: turn.result for name, turn in self._turns.items() if turn.over}
        for name in over:
            del self._turns[name]
            self._met.pop(name, None)
        ended += [(name, outcome) for name, outcome in over.items() if not self._again(name, outcome)]
        self._meet()
        if self._turns and not self._answers and not ended:
            time.sleep(PAUSE)
        return ended

    def _meet(self) -> None:
        """Do what the cells have come with: evaluations first, so that all train at the same time, whenever each began."""
        asked = {name: turn.asked for name, turn in self._turns.items() if turn.asked}
        first = min((one.rank for one in asked.values()), default=0)
        now = {name: one for name, one in asked.items() if one.rank == first}
        self._met |= {name: self._met.get(name, 0) + 1 for name in now}
        self._answers = dict(zip(now, together(list(now.values())), strict=True))

    def _again(self, name: str, outcome: Outcome) -> bool:
        """Let a cell that ran out of memory beside others run again, alone; tell whether it will."""
        options, beside = self._begun.pop(name)
        if not beside or outcome.status != "failed" or not outcome.reason.startswith("out of memory"):
            return False
        self._apart.append((name, options))
        return True

    def run(
        self, cells: Sequence[Cell], choose: Callable[[Sequence[Cell], Sequence[Cell]], Cell]
    ) -> Iterator[tuple[Cell, Outcome]]:
        """Run all cells, and yield each when it has ended. `choose(waiting, running)` returns the next one."""
        waiting, running = list(cells), {}
        with self:
            while waiting or running:
                while waiting and self.begun < self.size:
                    cell = choose(waiting, list(running.values()))
                    waiting.remove(cell)
                    running[cell.name] = cell
                    self.add(cell.name, cell.options)
                yield from ((running.pop(name), outcome) for name, outcome in self.go_on())

    def _begin(self) -> list[tuple[str, Outcome]]:
        """Begin with the cells that there is room for; where there are none, run one that takes no turns to its end.

        It would wait for ever for a dense network that one of the others is training.
        """
        while self._waiting and len(self._turns) < self.size:
            name, options = self._waiting[0]
            if self.size == 1 or not self._stackable(options):
                self._apart.append(self._waiting.popleft())
                continue
            if not self._fits(options):
                break
            self._waiting.popleft()
            self._turns[name] = Turn(partial(run_cell, replace(options, stack=self.size), self._datasets), KEPT)
            self._begun |= {other: (self._begun.get(other, (options,))[0], len(self._turns) > 1) for other in self._turns}
        if self._turns or not self._apart:
            return []
        name, options = self._apart.popleft()
        return [(name, run_cell(replace(options, stack=1), self._datasets))]

    def _fits(self, options: Options) -> bool:
        """Tell whether the card has memory for one more cell: twice what one of those that run has on average.

        It is known when all of them have settled.
        """
        device = device_of(options)
        if device.type != "cuda" or not self._turns:
            return True
        if any(self._met.get(name, 0) < SETTLED for name in self._turns):
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return free > 2 * torch.cuda.memory_reserved(device) / len(self._turns)
