"""SynFlow: iterative synaptic flow pruning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from Pruners.base import Problem, Pruner

SIGN = -(1 << 31)
LARGEST, SMALLEST = 1e30, 1e-30  # outside of these, float32 is about to leave its range


class SynFlow(Pruner):
    """Score |w dR/dw|, where R is the sum of the outputs for one image of ones in the network of absolute values.

    The largest stay; 100 rounds (Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, equation 2 and algorithm 1). Needs no
    data. The absolute value replaces every parameter and every float buffer, biases and BatchNorm included. A round is computed
    in float32, and again in float64 if it leaves the range of float32, as it does in deep networks. ReLU6 counts as ReLU: in a
    network of absolute values nearly every unit would reach the ceiling of 6, where the gradient is zero.
    """

    rounds = 100
    formula = "|w dR/dw|,  R = sum f(1; |w|)"
    source = "Tanaka et al. 2020, arXiv 2006.05467, eq. 2"

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return the synaptic flow through each weight, float32 or float64.

        Reads from the device once a round, to see whether float32 was enough.
        """
        scores, flow = self.flow(problem, torch.float32)
        if not _in_range(scores, flow):
            scores, flow = self.flow(problem, torch.float64)
        return scores

    @staticmethod
    def flow(problem: Problem, dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the scores in `dtype`, and R (scalar tensor). Reads nothing from the device."""
        weights = [w.detach().abs_().requires_grad_() for w in problem.weights(dtype)]
        state = problem.state(torch.abs, dtype)
        with _NoCeiling():
            flow = problem.forward(weights, problem.ones(dtype), state).sum()
        # The gradients need no mask: a pruned w is zero, and so is its score.
        gradients = torch.autograd.grad(flow, weights, allow_unused=True)
        pairs = zip(gradients, weights, strict=True)
        return [torch.zeros_like(w) if g is None else g.mul_(w.detach()).abs_() for g, w in pairs], flow.detach()


class _NoCeiling(TorchFunctionMode):
    """A mode in which ReLU6 computes ReLU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.relu6 or (func is F.hardtanh and (args[1:2] or (kwargs.get("min_val"),))[0] == 0):
            return F.relu(args[0])
        return func(*args, **kwargs)


def _in_range(scores: list[torch.Tensor], flow: torch.Tensor) -> bool:
    """Tell whether R > 0 is finite (0 may be an underflow) and all scores are zeros or lie between 1e-30 and 1e30."""
    largest = torch.stack([s.max() for s in scores]).max()
    smallest = torch.stack([_smallest_positive(s) for s in scores]).min()
    r, high, low = torch.stack([flow, largest, smallest]).double().tolist()
    return 0 < r < math.inf and high <= LARGEST and low >= SMALLEST  # a NaN fails every comparison


def _smallest_positive(score: torch.Tensor) -> torch.Tensor:
    """Return the smallest entry above zero, infinity if there is none; `score` has no negative entry."""
    if score.dtype != torch.float32:
        return torch.where(score > 0, score, torch.inf).min()
    # Floats above zero are ordered as the integers of their bits. Less one and with the sign turned, zero comes last.
    bits = (score.view(torch.int32) - 1) ^ SIGN
    least = (bits.min() ^ SIGN) + 1
    return torch.where(least == 0, torch.inf, least.view(torch.float32))
