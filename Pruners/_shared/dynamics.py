"""Dynamics of sparse training: when masks move, how many weights of a layer are replaced, and which ones grow.

A growth is a frozen object with the method `scores`. A pruner's file may define a class of its own and hand in an object of it as
the class attribute `growth`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch

from Pruners._shared.lookup import look_up


class Growth(Protocol):
    """The order in which the inactive weights of a layer grow."""

    def scores(self, weight: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """Return a score of each entry of `weight`, of its shape and on its device; the largest of the inactive ones grow.

        Args:
            weight: the parameter; its `grad`, if it has one, is the gradient of the training step before the update.
            draws: a generator on the CPU, the same one for all layers of an update.
        """
        ...


@dataclass(frozen=True)
class RandomGrowth:
    """Every inactive weight is equally likely to grow, as in SET (Mocanu et al. 2018, arXiv 1707.04780, algorithm 2)."""

    def scores(self, weight: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """Draw uniform numbers, on the CPU, so that all devices agree."""
        return torch.rand(weight.shape, generator=draws).to(weight.device)


@dataclass(frozen=True)
class GradientGrowth:
    """The weights with the largest |dL/dw| grow, as in RigL (Evci et al. 2020, arXiv 1911.11134, algorithm 1)."""

    def scores(self, weight: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """Return |dL/dw|; an overflow of float16 counts as 0, and so does a parameter without a gradient."""
        if weight.grad is None:
            return torch.zeros_like(weight)
        return weight.grad.abs().nan_to_num(nan=0.0, posinf=0.0)


GROWTHS: Mapping[str, Growth] = {"random": RandomGrowth(), "gradient": GradientGrowth()}


@dataclass(frozen=True)
class DropAndGrow:
    """Replace the smallest weights of each layer by as many others, a share that falls as a cosine in the training.

    Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, section 3.

    Attributes:
        growth: what grows, an object or a name in `GROWTHS`.
        interval: training steps from one update to the next.
        drop_fraction: the share of the active weights that an update at the very start would replace.
        end_fraction: the share of the training after which the masks stay.

    Raises:
        ValueError: no growth has this name.
    """

    growth: Growth | str
    interval: int = 100
    drop_fraction: float = 0.3
    end_fraction: float = 0.75

    def __post_init__(self) -> None:
        object.__setattr__(self, "growth", look_up(self.growth, GROWTHS, "growth"))

    def due(self, step: int, steps: int) -> bool:
        """Tell whether masks move after step `step`, counted from 1, of `steps`."""
        return step % self.interval == 0 and step < self.end_fraction * steps

    def fraction(self, step: int, steps: int) -> float:
        """Return f = a/2 (1 + cos(pi t / T_end)), the share of a layer's active weights that an update after `step` replaces.

        a is `drop_fraction`, t is `step`, and T_end is `end_fraction` of `steps`.
        """
        return self.drop_fraction / 2 * (1 + math.cos(math.pi * step / (self.end_fraction * steps)))
