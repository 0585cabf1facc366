"""SET: sparse from the start; in training small weights are dropped and random ones grown."""

from __future__ import annotations

from Pruners.rand import Rand


class Set(Rand):
    """Random masks with ERK budgets, which move in training: the smallest |w| of a layer go, as many random ones come.

    Sparse evolutionary training: Mocanu, Mocanu, Stone, Nguyen, Gibescu and Liotta 2018, arXiv 1707.04780, algorithm 2 (there
    after each epoch, at a constant share of 0.3, and Erdos-Renyi masks); the schedule is that of Evci et al. 2020 for SET: see
    `Pruners/_shared/updates.py`. Singleshot moves the masks; elsewhere they are only the random masks to start with.
    """

    distribution = "erk"
    growth = "random"
    formula = "z ~ N(0, 1); in training |w| of what is there, random for what is not"
    source = "Mocanu et al. 2018, arXiv 1707.04780"
