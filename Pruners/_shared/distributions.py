"""Distributions: how many weights each layer keeps, as integers that add up to the budget exactly.

A layer is one prunable tensor. Biases, norms and shortcut multipliers are layers of their own where they are prunable. A
distribution is a frozen object with the method `budgets`. A pruner's file may define a class of its own and hand in an object of
it as the class attribute `distribution`; a distribution with a name in `DISTRIBUTIONS` is also a choice of
`--mask-distribution`. All arithmetic on counts is in integers, and nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from Utils.base.errors import Refused


class Layer(NamedTuple):
    """One prunable tensor.

    Attributes:
        name: full name of the parameter.
        shape: its shape.
        alive: the number of its entries that are not pruned.
        weighs: whether it is the weight of a layer (`Models.layers.weights_of`); False for biases, norms and shortcuts.
        uses: the places of its first and its last use in the execution of one image; None if they are not known, or if the
            output does not depend on it.
    """

    name: str
    shape: tuple[int, ...]
    alive: int
    weighs: bool
    uses: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """The number of entries, pruned ones included."""
        return math.prod(self.shape)


class Distribution(Protocol):
    """The budget of each layer as a function of the layers and the budget of the network."""

    def budgets(self, layers: Sequence[Layer], kept: int) -> list[int]:
        """Divide `kept` weights, at most all that are alive, among `layers`.

        Every count lies between 0 and the layer's `alive`, so that the masks of a network pruned before are only shrunk, and
        the counts add up to `kept`.

        Raises:
            Refused: the distribution cannot keep so few.
        """
        ...


def ends(layers: Sequence[Layer]) -> tuple[int, int] | None:
    """Return the places in `layers` of the first and the last layer that weighs; None if none does.

    They are the first and the last in the execution of one image. A layer without a use is neither, unless no layer has one: then
    the order of `layers` counts.
    """
    weighing = [i for i, layer in enumerate(layers) if layer.weighs]
    uses = {i: found for i in weighing if (found := layers[i].uses)}
    if uses:
        return min(uses, key=lambda i: uses[i][0]), max(uses, key=lambda i: uses[i][1])
    return (weighing[0], weighing[-1]) if weighing else None


def apportion(total: int, weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Divide `total` into integers proportional to `weights` (>= 0), none above its cap.

    A share that would exceed its cap is the cap, and the others divide the rest. The units that rounding down leaves over go to
    the largest remainders, earlier ones first.

    Raises:
        ValueError: `total` is more than the caps of the positive weights add up to.
    """
    full: set[int] = set()
    while True:
        rest = total - sum(caps[i] for i in full)
        free = [i for i in range(len(caps)) if i not in full]
        whole = sum(weights[i] for i in free)
        over = {i for i in free if rest * weights[i] > caps[i] * whole}
        if not over:
            break
        full |= over
    shares = list(caps)
    parts = {i: divmod(rest * weights[i], whole) if whole else (0, 0) for i in free}
    for i, (share, _) in parts.items():
        shares[i] = share
    for i in sorted(free, key=lambda i: -parts[i][1])[: total - sum(shares)]:
        shares[i] += 1
    if sum(shares) != total:
        raise ValueError(f"{total} cannot be divided among caps of {sum(caps)}")
    return shares


@dataclass(frozen=True)
class Uniform:
    """The same share of every layer: budgets proportional to what is alive."""

    def budgets(self, layers: Sequence[Layer], kept: int) -> list[int]:
        """Divide `kept` in proportion to `alive`; see `Distribution.budgets`."""
        alive = [layer.alive for layer in layers]
        return apportion(kept, alive, alive)


@dataclass(frozen=True)
class ErdosRenyiKernel:
    """ERK: budgets proportional to the sum of the tensor's dimensions (out + in + height + width).

    A layer that this would overfill keeps all that is alive. A vector's dimensions add up to its own size, so that biases and
    norms stay dense until little else is left. Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, section 3.
    """

    def budgets(self, layers: Sequence[Layer], kept: int) -> list[int]:
        """Divide `kept` in proportion to the sums of dimensions; see `Distribution.budgets`."""
        return apportion(kept, [sum(layer.shape) for layer in layers], [layer.alive for layer in layers])


@dataclass(frozen=True)
class UniformPlus:
    """The same share of every layer, except for the first layer and the last.

    The first layer (see `ends`) keeps all that is alive if it is a convolution, and the last keeps at least `last` of its
    weights, if it has as many left. Gale, Elsen and Hooker 2019, arXiv 1902.09574, in the form of the code of LAMP (arXiv
    2010.07611).
    """

    last: float = 0.2

    def budgets(self, layers: Sequence[Layer], kept: int) -> list[int]:
        """Divide `kept` uniformly around the two fixed layers; see `Distribution.budgets`.

        Raises:
            Refused: the fixed layers alone hold more than `kept`.
        """
        alive = [layer.alive for layer in layers]
        found = ends(layers)
        fixed: dict[int, int] = {}
        if found and len(layers[found[0]].shape) == 4:
            fixed[found[0]] = alive[found[0]]
        shares = _around(fixed, alive, kept)
        if found and found[1] not in fixed:
            last = found[1]
            least = min(alive[last], round(self.last * layers[last].size))
            if shares is None or shares[last] < least:
                fixed[last] = least
                shares = _around(fixed, alive, kept)
        if shares is None:
            names = " and ".join(f"{count} of {layers[i].name}" for i, count in fixed.items())
            raise Refused(f"uniform-plus always keeps {names}: a budget of {kept} weights is too small for it")
        return shares


def _around(fixed: Mapping[int, int], alive: Sequence[int], kept: int) -> list[int] | None:
    """Divide what `fixed` (place -> count) leaves of `kept` uniformly among the other layers.

    Returns:
        One count for each layer; None if `kept` is less than the fixed counts, or more than they and the others can hold.
    """
    rest = kept - sum(fixed.values())
    free = [0 if i in fixed else count for i, count in enumerate(alive)]
    if rest < 0 or rest > sum(free):
        return None
    return [fixed.get(i, share) for i, share in enumerate(apportion(rest, free, free))]


DISTRIBUTIONS: Mapping[str, Distribution] = {
    "erk": ErdosRenyiKernel(),
    "uniform": Uniform(),
    "uniform-plus": UniformPlus(),
}
