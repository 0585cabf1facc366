"""No pruning: the baseline that every comparison needs."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class Dense(Pruner):
    """Score 1 for every weight; the command line gives it density 1, so that all stay. No data."""

    formula = "1, all stay"
    source = "the dense baseline"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Ones."""
        return [torch.ones_like(w) for w in problem.masks]
