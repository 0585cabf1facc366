"""ERK: magnitudes, each layer's budget by the sum of its dimensions."""

from __future__ import annotations

from Pruners._shared.distributions import ErdosRenyiKernel
from Pruners.mag import Mag


class Erk(Mag):
    """Score |w|, ranked within each layer; a layer's budget is proportional to out + in + height + width.

    Small layers stay dense. Erdos-Renyi kernel: Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, section 3; as a
    magnitude pruner in Lee et al. 2021, arXiv 2010.07611. `rand` with `--mask-distribution erk` is its random control.
    """

    distribution = ErdosRenyiKernel()
    formula = "|w| in each layer; its budget goes with the sum of its dimensions"
    source = "Evci et al. 2020, arXiv 1911.11134"
