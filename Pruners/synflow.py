"""SynFlow: iterative synaptic flow pruning."""

from __future__ import annotations

import math

import torch

from Pruners.base import Pruner
from Pruners.problem import Problem

LARGEST, SMALLEST = 1e30, 1e-30  # outside of these, float32 is about to leave its range


class SynFlow(Pruner):
    """Score |w dR/dw| where R is the sum of the outputs for one image of ones, in the network of absolute values.

    The largest stay; 100 rounds (Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, equation 2 and algorithm 1).
    No data. Every parameter and every float buffer is replaced by its absolute value, biases and BatchNorm included. A
    round is computed in float32 and repeated in float64 where float32 leaves its range, which deep networks do.
    """

    rounds = 100
    formula = "|w dR/dw|,  R = sum f(1; |w|)"
    source = "Tanaka et al. 2020, arXiv 2006.05467, eq. 2"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Synaptic flow through each weight, float32 or float64.

        Reads the device once a round (twice where float64 is needed), to see whether float32 was enough.
        """
        scores, flow = self.flow(problem, torch.float32)
        if not _in_range(scores, flow):
            scores, flow = self.flow(problem, torch.float64)
        return scores

    @staticmethod
    def flow(problem: Problem, dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The scores in `dtype`, and R (scalar tensor). Reads nothing back from the device."""
        weights = [w.detach().abs_().requires_grad_() for w in problem.weights(dtype)]
        state = problem.state(torch.abs, dtype)
        flow = problem.forward(weights, problem.ones(dtype), state).sum()
        gradients = problem.gradients(flow, weights)
        return [g.mul_(w.detach()).abs_() for g, w in zip(gradients, weights, strict=True)], flow.detach()


def _in_range(scores: list[torch.Tensor], flow: torch.Tensor) -> bool:
    """Whether R and all scores are finite, none above 1e30 and none but zeros below 1e-30; R = 0 may be an underflow."""
    largest = torch.stack([s.max() for s in scores]).max()
    smallest = torch.stack([torch.where(s > 0, s, torch.inf).min() for s in scores]).min()
    r, high, low = torch.stack([flow, largest, smallest]).double().tolist()
    return 0 < r < math.inf and high <= LARGEST and low >= SMALLEST  # a NaN fails every comparison
