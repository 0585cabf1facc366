"""The sizes and repetitions of all measurements, for a card, and for a dry run that only tests every line."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.rows import CIFAR


@dataclass(frozen=True)
class Case:
    """A training: a network, its batch size and optimizer, and the images of an epoch."""

    network: str
    batch: int
    optimizer: str
    images: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an image."""
        return shape_of(self.network)

    def labels(self) -> dict[str, str | int]:
        """Return the first columns of the case's rows."""
        return {"network": self.network, "batch": self.batch, "optimizer": self.optimizer}

    def epoch(self, step: float) -> float:
        """Return the seconds of an epoch of steps of `step` seconds; a smaller last batch counts as a whole one."""
        return step * math.ceil(self.images / self.batch)


CASES = (
    Case("resnet20", 64, "adam", 50_000),
    Case("resnet20", 128, "adam", 50_000),
    Case("vgg16-bn", 128, "momentum", 50_000),
    Case("fc", 64, "adam", 60_000),
)


def shape_of(name: str) -> tuple[int, ...]:
    """Return the shape of an image of the network `name`."""
    return (1, 28, 28) if name == "fc" else CIFAR


@dataclass(frozen=True)
class Sizes:
    """The sizes of all measurements; the defaults are those for a card.

    Attributes:
        turn, turns, calls: seconds of a turn, number of turns, and the fewest and most calls in one.
        cases: the trainings.
        compared: steps after which the bits of two ways are compared.
        copied, matrix: bytes of a copy, and rows of a square matrix.
        kernels, elements, streams: kernels in a graph of the floors, numbers that each works on, and graphs at once.
        cells: numbers of networks that are trained at once.
        textbook: steps in a turn of the textbook's loop.
        images: the number of images that the pruners score with.
        networks, rounds: the networks whose masks are compared, and the most rounds of a pruner.
        stacks, epochs, of_epoch: the cells at once in a grid, its epochs, and the images of one; 0: as many as the case has.
        workers, jpegs: the numbers of processes that decode large images, and the images.
        large, synflow: the network on which SynFlow is timed, and its rounds in a turn.
    """

    turn: float = 0.3
    turns: int = 3
    calls: tuple[int, int] = (5, 400)
    cases: tuple[Case, ...] = CASES
    compared: int = 20
    copied: int = 1 << 29
    matrix: int = 8192
    kernels: int = 200
    elements: tuple[int, ...] = (64, 1 << 20)
    streams: tuple[int, ...] = (1, 2, 4, 8)
    cells: tuple[int, ...] = (1, 2, 4, 8, 16)
    textbook: int = 20
    images: int = 100
    networks: tuple[str, ...] = ("fc", "resnet20")
    rounds: int = 100
    large: str = "vgg16-bn"
    synflow: int = 20
    stacks: tuple[int, ...] = (1, 8)
    epochs: int = 3
    of_epoch: int = 0
    workers: tuple[int, ...] = (1, 4, 12)
    jpegs: int = 1024


DRY = Sizes(
    turn=0.0, turns=1, calls=(1, 1), cases=(Case("resnet20", 2, "adam", 50_000), Case("fc", 2, "momentum", 60_000)), compared=1,
    copied=1 << 12, matrix=16, kernels=2, elements=(64,), streams=(1, 2), cells=(1, 2), textbook=1, images=4,
    networks=("fc",), rounds=2, large="fc", synflow=2, stacks=(2,), epochs=1, of_epoch=20, workers=(0,), jpegs=4,
)  # fmt: skip
