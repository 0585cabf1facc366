"""Magnitude pruning."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class Mag(Pruner):
    """Score |w|: the largest weights stay (Han et al. 2015, arXiv 1506.02626, section 3).

    No data. Meant for trained weights (`--pre-epochs`); on untrained ones it only reflects the initialisation's scale.
    """

    formula = "|w|"
    source = "Han et al. 2015, arXiv 1506.02626"
    untrained_note = "magnitudes of untrained weights only reflect their initialisation; --pre-epochs trains them first"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Absolute values of the masked weights."""
        return [w.detach().abs() for w in problem.weights()]
