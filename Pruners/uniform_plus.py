"""Uniform+: magnitudes, the same share of every layer except for a first convolution and the last layer."""

from __future__ import annotations

from Pruners._shared import distributions
from Pruners.mag import Mag


class UniformPlus(Mag):
    """Score |w|, ranked within each layer; a first convolution stays dense, and the last layer keeps at least a fifth.

    Gale, Elsen and Hooker 2019, arXiv 1902.09574; as a baseline in Lee et al. 2021, arXiv 2010.07611.
    """

    distribution = distributions.UniformPlus()
    formula = "|w| in each layer; the first conv stays, the last layer keeps a fifth, the same share of the others"
    source = "Gale et al. 2019, arXiv 1902.09574"
