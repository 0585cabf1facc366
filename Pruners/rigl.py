"""RigL: sparse from the start; in training small weights are dropped and those with large gradients grown."""

from __future__ import annotations

from Pruners.rand import Rand


class RigL(Rand):
    """Random masks with ERK budgets, which move in training: the smallest |w| of a layer go, those of the largest |dL/dw| come.

    Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, algorithm 1, with its defaults: every 100 steps, a = 0.3, until
    three quarters of the training (see `_shared/updates.py`). The gradient is that of one training batch, with respect to the
    weight that the network computes with. Singleshot moves the masks; elsewhere they are only the random masks to start with.
    """

    distribution = "erk"
    growth = "gradient"
    formula = "z ~ N(0, 1); in training |w| of what is there, |dL/dw| of what is not"
    source = "Evci et al. 2020, arXiv 1911.11134, alg. 1"
