"""The number of weights that each layer gets back: integer allocations that spend a budget in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import torch

from Utils.options.groups.regrowth_options import ALLOCATIONS as KINDS

NEEDS_SSIM = ("ssim", "greedy")
FLOOR = 1e-6  # the least weight of a layer in `ssim`: an unchanged layer still takes the weights that do not fit elsewhere


class Layer(Protocol):
    """A layer, for the purpose of an allocation: its mask."""

    @property
    def mask(self) -> torch.Tensor:
        """Zeros and ones of the weight's shape."""


def capacities(layers: Mapping[str, Layer]) -> dict[str, int]:
    """Count the pruned weights of each layer, which are the most that it can take back."""
    counts = torch.stack([(layer.mask == 0).sum() for layer in layers.values()]).tolist() if layers else []
    return dict(zip(layers, counts, strict=True))


def fraction_count(total: int, fraction: float) -> int:
    """Return floor(fraction * total) with decimal fractions taken exactly (0.3 of 10 is 3)."""
    return math.floor(fraction * total + 1e-6)


def even_parts(total: int, parts: int) -> list[int]:
    """Divide `total` into `parts` integers that differ by at most one, the larger ones first."""
    return [total // parts + (i < total % parts) for i in range(parts)]


def fill(budget: int, capacity: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Share `budget` in proportion to `weights`, none above its `capacity`: water-filling, then largest remainders.

    The excess of a full layer goes to the others, in proportion to their weights. Layers of weight 0 get a share only when all
    others are full, in proportion to their capacity. Equal remainders are ordered by position.

    Returns:
        Integers with the sum min(budget, sum of the capacities).
    """
    given = [0] * len(capacity)
    for tier in ([i for i, w in enumerate(weights) if w > 0], [i for i, w in enumerate(weights) if not w > 0]):
        left = budget - sum(given)
        shares = _fill_positive(left, [capacity[i] for i in tier], [weights[i] or float(capacity[i]) for i in tier])
        for i, share in zip(tier, shares, strict=True):
            given[i] = share
    return given


def _fill_positive(budget: int, capacity: Sequence[int], weights: Sequence[float]) -> list[int]:
    budget = min(budget, sum(capacity))
    given, open_ = [0] * len(capacity), [i for i, c in enumerate(capacity) if c > 0]
    while open_ and (left := budget - sum(given)):
        total = math.fsum(weights[i] for i in open_)
        full = [i for i in open_ if left * (weights[i] / total) >= capacity[i]]
        if not full:
            exact = {i: left * (weights[i] / total) for i in open_}
            for i in open_:
                given[i] = math.floor(exact[i])
            _hand_out(budget - sum(given), given, capacity, sorted(open_, key=lambda i: (given[i] - exact[i], i)))
            break
        for i in full:
            given[i] = capacity[i]
        open_ = [i for i in open_ if i not in full]
    return given


def _hand_out(rest: int, given: list[int], capacity: Sequence[int], order: Sequence[int]) -> None:
    """Give one each in `order` until `rest` is 0, within the capacities; if `rest` is negative, take one each back."""
    while rest:
        step = 1 if rest > 0 else -1
        for i in order if step > 0 else reversed(order):
            if rest and 0 <= given[i] + step <= capacity[i]:
                given[i] += step
                rest -= step


def allocate(
    kind: str,
    budget: int,
    caps: Mapping[str, int],
    ssim: Mapping[str, float | None] | None = None,
    ratios: Sequence[float] | None = None,
) -> dict[str, int]:
    """Return the number of weights that each layer of `caps` gets of `budget`.

    No layer gets more than its capacity; together they get min(budget, all). The kinds are:

    `uniform`: the same for each layer. `proportional`: in proportion to the capacity. `ssim`: in proportion to 1 - SSIM; a layer
    without an SSIM counts as the mean of the others. `greedy`: the layer with the lowest SSIM is filled first, those without an
    SSIM last. `rl`: each layer in turn claims its entry of `ratios` of the most that it can still get; the rest is shared in
    proportion to the claims.

    Raises:
        ValueError: an unknown kind, or SSIM or ratios are missing.
    """
    names, capacity = list(caps), list(caps.values())
    if kind == "greedy":
        given = dict.fromkeys(names, 0)
        left = budget
        for name in ssim_order(_needed(ssim, names)):
            given[name] = min(caps[name], left)
            left -= given[name]
        return given
    if kind == "rl":
        if ratios is None or len(ratios) != len(names):
            raise ValueError(f"allocation rl needs one ratio for each of {len(names)} layers")
        weights = [float(c) for c in claims(budget, capacity, ratios)]
    elif kind == "ssim":
        weights = _ssim_weights(_needed(ssim, names))
    elif kind in ("uniform", "proportional"):
        weights = [1.0] * len(names) if kind == "uniform" else [float(c) for c in capacity]
    else:
        raise ValueError(f"allocation {kind!r}: choose from {', '.join(KINDS)}")
    return dict(zip(names, fill(budget, capacity, weights), strict=True))


def claims(budget: int, capacity: Sequence[int], ratios: Sequence[float]) -> list[int]:
    """Return the `claim` of each layer in turn, out of what is left of `budget`."""
    asked, left = [], budget
    for c, ratio in zip(capacity, ratios, strict=True):
        asked.append(claim(ratio, c, left))
        left -= asked[-1]
    return asked


def claim(ratio: float, capacity: int, left: int) -> int:
    """Return the claim of an action of the controller: round(ratio * most that the layer can still get), `left` at most."""
    return min(round(ratio * min(capacity, left)), left)


def ssim_order(ssim: Mapping[str, float | None]) -> list[str]:
    """Order the layers by rising SSIM, the most changed first; those without one come last; ties keep their order."""
    return sorted(ssim, key=lambda name: math.inf if ssim[name] is None else ssim[name])


def _needed(ssim: Mapping[str, float | None] | None, names: Sequence[str]) -> dict[str, float | None]:
    if ssim is None or all(ssim.get(name) is None for name in names):
        raise ValueError("no layer has an SSIM: it needs a convolution with maps of at least 3 x 3 and a dense network")
    return {name: ssim.get(name) for name in names}


def _ssim_weights(ssim: Mapping[str, float | None]) -> list[float]:
    known = [max(1.0 - s, FLOOR) for s in ssim.values() if s is not None]
    mean = math.fsum(known) / len(known)
    return [mean if s is None else max(1.0 - s, FLOOR) for s in ssim.values()]
