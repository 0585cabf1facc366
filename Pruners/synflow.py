"""SynFlow: iterative synaptic flow pruning."""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch

from Pruners._shared.homogeneous import Homogeneous
from Pruners._shared.scaling import Scaled
from Pruners.base import Problem, Pruner

SIGN = -(1 << 31)
RANGES = {torch.float32: (1e-30, 1e30), torch.float64: (1e-290, 1e290)}  # outside of it, a type is about to leave its range


class SynFlow(Pruner):
    """Score |w dR/dw|, where R is the sum of the outputs for one image of ones in the network of absolute values.

    The largest stay; 100 rounds (Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, equation 2 and algorithm 1). Needs no
    data. The absolute value replaces every parameter and every float buffer, biases and BatchNorm included. A round is computed
    in float32, and again in float64 if it leaves the range of float32, as it does in deep networks. If it leaves the range of
    float64 too, as in networks of a thousand layers, each layer is scaled by a power of two (`_shared/scaling.py`), in this and
    in all later rounds.

    The network that is scored is linearised, as the theory asks: equation 2 has no activation at all, and theorem 1 holds for
    f(x) = f'(x) x. ReLU and its kin (LeakyReLU, PReLU, ELU, GELU, SiLU, Softplus, Hardswish) pass positive numbers on, and stay
    as they are. Bounded activations (tanh, sigmoid, Hardsigmoid, Hardtanh, Softsign, ReLU6, clamp) would saturate, where the
    gradient is zero: they count as the identity, or as ReLU, and as gates keep their value (`_shared/homogeneous.py`). A softmax
    or log-softmax at the end is left out, because its outputs add up to a constant.
    """

    rounds = 100
    formula = "|w dR/dw|,  R = sum f(1; |w|)"
    source = "Tanaka et al. 2020, arXiv 2006.05467, eq. 2"
    train_mode_note = (
        "--prune-train-mode with --pruner synflow: BatchNorm subtracts the mean of the one image of ones, so that the sum of the"
        " outputs hardly depends on the weights; the scores are rounding errors and the network collapses: leave the flag out"
    )
    _beyond: Problem | None = None  # the problem whose scores left the range of float64

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return the synaptic flow through each weight, float32 or float64; where layers are scaled, times a constant.

        Reads from the device once a round, to see whether float32 was enough, and if not, once more for float64.
        """
        if self._beyond is not problem:
            for dtype, limits in RANGES.items():
                scores, flow = self.flow(problem, dtype)
                if _in_range(scores, flow, *limits):
                    return scores
            self._beyond = problem
        return self.flow(problem, torch.float64, scaled=True)[0]

    @staticmethod
    def flow(problem: Problem, dtype: torch.dtype, scaled: bool = False) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return the scores in `dtype`, and R (scalar tensor). Reads nothing from the device.

        With `scaled` (float64) scores and R are multiplied by one power of two, which brings them near 1.
        """
        weights = [w.detach().abs_().requires_grad_() for w in problem.weights(dtype)]
        state = problem.state(torch.abs, dtype)
        with Scaled() if scaled else nullcontext(), Homogeneous() as homogeneous:
            output = problem.forward(weights, problem.ones(dtype), state)
            flow = homogeneous.logits(output).sum()
        # The gradients need no mask: a pruned w is zero, and so is its score.
        gradients = torch.autograd.grad(flow, weights, allow_unused=True)
        pairs = zip(gradients, weights, strict=True)
        return [torch.zeros_like(w) if g is None else g.mul_(w.detach()).abs_() for g, w in pairs], flow.detach()


def _in_range(scores: list[torch.Tensor], flow: torch.Tensor, least: float, most: float) -> bool:
    """Tell whether R > 0 is finite (0 may be an underflow) and all scores are zeros or lie between `least` and `most`."""
    largest = torch.stack([s.max() for s in scores]).max()
    smallest = torch.stack([_smallest_positive(s) for s in scores]).min()
    r, high, low = torch.stack([flow, largest, smallest]).double().tolist()
    return 0 < r < math.inf and high <= most and low >= least  # a NaN fails every comparison


def _smallest_positive(score: torch.Tensor) -> torch.Tensor:
    """Return the smallest entry above zero, infinity if there is none; `score` has no negative entry."""
    if score.dtype != torch.float32:
        return torch.where(score > 0, score, torch.inf).min()
    # Floats above zero are ordered as the integers of their bits. Less one and with the sign turned, zero comes last.
    bits = (score.view(torch.int32) - 1) ^ SIGN
    least = (bits.min() ^ SIGN) + 1
    return torch.where(least == 0, torch.inf, least.view(torch.float32))
