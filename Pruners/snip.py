"""SNIP: single-shot network pruning based on connection sensitivity."""

from __future__ import annotations

import torch

from Pruners.base import Problem, Pruner


class SNIP(Pruner):
    """Score |w * dL/dw| / sum of all: the sensitivity of the loss to a gate m on the connection (|dL/dm| at m = 1).

    The largest stay. Lee, Ajanthan and Torr 2019, arXiv 1810.02340, equations 5 and 6. Needs data: L is the sum over the
    scoring batches of the mean cross-entropy.
    """

    needs_data = True
    formula = "|w dL/dw| / sum |w dL/dw|"
    source = "Lee et al. 2019, arXiv 1810.02340, eq. 6"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return normalised connection sensitivities, which add up to 1; all zeros for a network without any gradient."""
        weights = problem.weights()
        total = [torch.zeros_like(w) for w in weights]
        for images, labels in problem.batches:
            gradients = problem.gradients(problem.loss(problem.forward(weights, images), labels), weights)
            torch._foreach_add_(total, gradients)
        scores = [(g * w.detach()).abs_() for g, w in zip(total, weights, strict=True)]
        norm = torch.stack([s.sum() for s in scores]).sum()
        return [s.div_(torch.where(norm > 0, norm, 1)) for s in scores]
