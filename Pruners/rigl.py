"""RigL: sparse from the start; in training small weights are dropped and those with large gradients grown."""

from __future__ import annotations

from Pruners._shared.distributions import ErdosRenyiKernel
from Pruners._shared.dynamics import GradientGrowth
from Pruners.rand import Rand


class RigL(Rand):
    """Start with random ERK masks; in training each layer drops its smallest |w| and grows the largest |dL/dw|.

    Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, algorithm 1, with its defaults: every 100 steps, a = 0.3, until
    three quarters of the training (`_shared/dynamics.py`). The gradient is that of one training batch, with respect to the
    weight that the network computes with. Singleshot moves the masks; other experiments only use the random masks of the start.
    """

    distribution = ErdosRenyiKernel()
    growth = GradientGrowth()
    formula = "z ~ N(0, 1); in training |w| of what is there, |dL/dw| of what is not"
    source = "Evci et al. 2020, arXiv 1911.11134, alg. 1"
