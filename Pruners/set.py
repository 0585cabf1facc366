"""SET: sparse from the start; in training small weights are dropped and random ones grown."""

from __future__ import annotations

from Pruners._shared.distributions import ErdosRenyiKernel
from Pruners._shared.dynamics import RandomGrowth
from Pruners.rand import Rand


class Set(Rand):
    """Start with random ERK masks; in training each layer drops its smallest |w| and grows random weights.

    Sparse evolutionary training: Mocanu, Mocanu, Stone, Nguyen, Gibescu and Liotta 2018, arXiv 1707.04780, algorithm 2 (there
    after each epoch, at a constant share of 0.3, and with Erdos-Renyi masks). Updates are timed as Evci et al. 2020 time them for
    SET (`_shared/dynamics.py`). Singleshot moves the masks; other experiments only use the random masks of the start.
    """

    distribution = ErdosRenyiKernel()
    growth = RandomGrowth()
    formula = "z ~ N(0, 1); in training |w| of what is there, random for what is not"
    source = "Mocanu et al. 2018, arXiv 1707.04780"
