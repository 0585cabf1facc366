"""LAMP: layer-adaptive magnitude pruning."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner
from Pruners.mag import Mag


class Lamp(Pruner):
    """Score w^2 / (sum of the squares of the layer's weights as large or larger); all layers are ranked together.

    Lee, Park, Mo, Ahn and Shin 2021, arXiv 2010.07611, section 2. The largest weight of a layer scores 1, so that every layer
    keeps one; within a layer the order is that of magnitudes. Needs no data. Meant for trained weights, as magnitude is.
    """

    one_each = True
    formula = "w^2 / sum of v^2 over the layer's |v| >= |w|"
    source = "Lee et al. 2021, arXiv 2010.07611"
    untrained_note = Mag.untrained_note

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return float64 scores from 0 to 1; 0 where a weight is pruned."""
        return [lamp_scores(p.weight, p.mask).clamp(min=0.0) for p in problem.prunables]


def lamp_scores(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the LAMP scores of one layer: w_u^2 / sum of w_v^2 over all v with |w_v| >= |w_u|.

    Lee, Park, Mo, Ahn and Shin 2021, arXiv 2010.07611, section 2. Of equal weights the earlier one counts as the larger. The sums
    are taken from the largest square down, so that nothing cancels.

    Returns:
        float64, of the weight's shape; -inf where the mask is zero, 0 for a weight that is zero.
    """
    squares = (weight.detach() * mask).reshape(-1).double().square()
    ordered, places = squares.sort(descending=True, stable=True)
    sums = ordered.cpu().cumsum(0).to(ordered.device)  # on CUDA the order of the additions is not fixed
    found = torch.where(sums == 0, 0.0, ordered / sums)  # infinities and NaN stay
    scores = torch.empty_like(squares).scatter_(0, places, found).view_as(weight)
    return torch.where(mask > 0, scores, -torch.inf)
