"""Dense: no pruning, the baseline of every comparison."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class Dense(Pruner):
    """Score 1 for every weight; the command line sets density 1, so that all stay. Needs no data."""

    formula = "1, all stay"
    source = "the dense baseline"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return ones."""
        return [torch.ones_like(w) for w in problem.masks]
