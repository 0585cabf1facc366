"""Uniform: magnitudes, the same share of every layer."""

from __future__ import annotations

from Pruners._shared import distributions
from Pruners.mag import Mag


class Uniform(Mag):
    """Score |w|, ranked within each layer, of which the same share stays, first and last included.

    Zhu and Gupta 2017, arXiv 1710.01878; as a baseline in Lee et al. 2021, arXiv 2010.07611. `mag` with
    `--mask-scope local` is the same up to rounding: here the budgets add up to that of the whole network.
    """

    distribution = distributions.Uniform()
    formula = "|w| in each layer; the same share of each stays"
    source = "Zhu and Gupta 2017, arXiv 1710.01878"
