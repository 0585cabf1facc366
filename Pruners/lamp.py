"""LAMP: magnitudes weighed by what they would leave in their layer."""

from __future__ import annotations

import torch

from Pruners._shared.layerwise import lamp_scores
from Pruners.base import Problem, Pruner
from Pruners.mag import Mag


class Lamp(Pruner):
    """Score w^2 / (sum of the squares of all weights of the layer that are as large or larger); all layers are ranked together.

    Lee, Park, Mo, Ahn and Shin 2021, arXiv 2010.07611, section 2. The largest weight of a layer scores 1, so that every layer
    keeps one, and within a layer the cut is by magnitude. No data. Meant for trained weights, as magnitude is.
    """

    one_each = True
    formula = "w^2 / sum of v^2 over the layer's |v| >= |w|"
    source = "Lee et al. 2021, arXiv 2010.07611"
    untrained_note = Mag.untrained_note

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Float64 scores from 0 to 1; 0 where a weight is pruned."""
        return [lamp_scores(p.weight, p.mask).clamp(min=0.0) for p in problem.prunables]
