"""How many weights each layer keeps, where a method says so for each layer: integers that add up to the budget exactly.

A layer is one prunable tensor; biases, norms and shortcut multipliers are layers of their own where they are prunable. With
ERK those stay dense until little else is left, because a vector's dimensions add up to its own size. Every count is a function
of what is alive, so that budgets of a network pruned before nest in what it has. All arithmetic on counts is in integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from Models.masking import Prunable
from Utils.base.errors import Refused

DISTRIBUTIONS = ("erk", "uniform", "uniform-plus")
LAST = 0.2  # the share of its weights that uniform-plus leaves the last layer at least


class Layer(NamedTuple):
    """One prunable tensor: its name, shape, and how many of its entries are alive; `weighs` unless it is a vector beside one."""

    name: str
    shape: tuple[int, ...]
    alive: int
    weighs: bool

    @property
    def size(self) -> int:
        """The number of entries, pruned ones included."""
        return torch.Size(self.shape).numel()


def layers_of(prunables: Sequence[Prunable]) -> list[Layer]:
    """The layers of a network as they are now."""
    return [
        Layer(p.name, tuple(p.weight.shape), int(torch.count_nonzero(p.mask)),
              p.param == "weight" and isinstance(p.module, nn.Conv2d | nn.Linear))
        for p in prunables
    ]  # fmt: skip


def apportion(total: int, weights: Sequence[int], caps: Sequence[int]) -> list[int]:
    """Integers proportional to `weights` (>= 0) that add up to `total`, none above its cap.

    Whoever would exceed its cap gets the cap, and the others share the rest. What is left after rounding down goes to the
    largest remainders, earlier ones first. `total` is at most what the caps of positive weights allow.
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


def layer_budgets(distribution: str, layers: Sequence[Layer], kept: int) -> list[int]:
    """How many of `kept` weights each of `layers` keeps: 0 <= n <= alive, and the sum is `kept`, at most all that are alive.

    - `uniform`: proportional to what is alive.
    - `erk` (Erdos-Renyi kernel; Evci et al. 2020, arXiv 1911.11134, section 3): proportional to the sum of the tensor's
      dimensions (out + in + height + width), a layer that this would overfill is left as it is.
    - `uniform-plus` (Gale, Elsen and Hooker 2019, arXiv 1902.09574, as in LAMP's code): uniform, but the first layer is left
      as it is if it is a convolution, and the last keeps a fifth of its weights, if it has as many left.

    Raises:
        Refused: `uniform-plus` cannot keep so few.
    """
    alive = [layer.alive for layer in layers]
    if distribution == "uniform":
        return apportion(kept, alive, alive)
    if distribution == "erk":
        return apportion(kept, [sum(layer.shape) for layer in layers], alive)
    if distribution == "uniform-plus":
        return _uniform_plus(layers, kept)
    raise ValueError(f"mask distribution {distribution!r}: choose from {', '.join(DISTRIBUTIONS)}")


def _uniform_plus(layers: Sequence[Layer], kept: int) -> list[int]:
    alive = [layer.alive for layer in layers]
    weighing = [i for i, layer in enumerate(layers) if layer.weighs]
    fixed: dict[int, int] = {}
    if weighing and len(layers[weighing[0]].shape) == 4:
        fixed[weighing[0]] = alive[weighing[0]]
    shares = _around(fixed, alive, kept)
    if weighing and weighing[-1] not in fixed:
        last = weighing[-1]
        least = min(alive[last], round(LAST * layers[last].size))
        if shares is None or shares[last] < least:
            fixed[last] = least
            shares = _around(fixed, alive, kept)
    if shares is None:
        names = " and ".join(f"{count} of {layers[i].name}" for i, count in fixed.items())
        raise Refused(f"uniform-plus always keeps {names}: a budget of {kept} weights is too small for it")
    return shares


def _around(fixed: dict[int, int], alive: Sequence[int], kept: int) -> list[int] | None:
    """Uniform budgets of what is not `fixed` (place -> count); None where those take more than there is."""
    rest = kept - sum(fixed.values())
    free = [0 if i in fixed else count for i, count in enumerate(alive)]
    if rest < 0 or rest > sum(free):
        return None
    return [fixed.get(i, share) for i, share in enumerate(apportion(rest, free, free))]


def check_budget(distribution: str | None, layers: Sequence[Layer], kept: int, one_each: bool = False) -> None:
    """Refuse a budget of `kept` weights that cannot be had: see `layer_budgets`; `one_each` asks for one of every layer.

    Raises:
        Refused: one line that names the numbers.
    """
    if distribution:
        layer_budgets(distribution, layers, kept)
    elif one_each and kept < sum(layer.alive > 0 for layer in layers):
        raise Refused(f"a budget of {kept} weights is too small for {len(layers)} layers, of which each keeps its largest")


def lamp_scores(weight: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """LAMP scores of one layer, float64, of the weight's shape: w_u^2 / sum of w_v^2 over all v with |w_v| >= |w_u|.

    (Lee, Park, Mo, Ahn and Shin 2021, arXiv 2010.07611, section 2.) Of equal weights the earlier one counts as the larger.
    The sums are taken from the largest square down, so that nothing cancels; masked entries score -inf, zeros 0.
    """
    squares = (weight.detach() * mask).reshape(-1).double().square()
    ordered, places = squares.sort(descending=True, stable=True)
    sums = ordered.cpu().cumsum(0).to(ordered.device)  # on CUDA the order of the additions is not fixed
    found = torch.where(sums == 0, 0.0, ordered / sums)  # what is not finite stays so
    scores = torch.empty_like(squares).scatter_(0, places, found).view_as(weight)
    return torch.where(mask > 0, scores, -torch.inf)
