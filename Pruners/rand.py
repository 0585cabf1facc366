"""Random pruning, the baseline every method has to beat."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class Rand(Pruner):
    """Score z ~ N(0, 1), independent per weight; the largest stay, so every layer keeps about the same density.

    No data. The draws come from a stream of their own (seed, "scores") on the CPU: all devices agree, and training
    sees the same random numbers as with any other pruner.
    """

    formula = "z ~ N(0, 1)"
    source = "baseline"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Normal draws of each weight's shape."""
        return [torch.randn(p.weight.shape, generator=problem.generator).to(problem.device) for p in problem.prunables]
