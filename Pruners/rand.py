"""Random pruning, the baseline that every method has to beat."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class Rand(Pruner):
    """Score z ~ N(0, 1), independent per weight; the largest stay, so that every layer keeps about the same density.

    Needs no data. The draws come from a stream of their own (seed, "scores") on the CPU, so that all devices agree and training
    sees the same random numbers as with any other pruner.
    """

    formula = "z ~ N(0, 1)"
    source = "baseline"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Draw a normal number for each weight."""
        return [torch.randn(p.weight.shape, generator=problem.generator).to(problem.device) for p in problem.prunables]
