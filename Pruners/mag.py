"""Magnitude pruning."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class Mag(Pruner):
    """Score |w|: the largest weights stay (Han et al. 2015, arXiv 1506.02626, section 3).

    Needs no data. Meant for trained weights (`--pre-epochs`): untrained ones only reflect the scale of their initialisation.
    """

    formula = "|w|"
    source = "Han et al. 2015, arXiv 1506.02626"
    untrained_note = "magnitudes of untrained weights only reflect their initialisation; --pre-epochs trains them first"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return the absolute values of the masked weights."""
        return [w.detach().abs() for w in problem.weights()]
