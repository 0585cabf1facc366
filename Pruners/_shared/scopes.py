"""Scopes: the weights that compete with each other for a place in the mask, and the cut among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch

from Models.layers import weights_of
from Models.masking import Prunable
from Pruners._shared.distributions import DISTRIBUTIONS, Distribution, Layer
from Pruners._shared.lookup import look_up
from Pruners._shared.masks import keep_largest
from Utils.base.errors import Refused


def layers_of(prunables: Sequence[Prunable]) -> list[Layer]:
    """Describe the layers of a network as they are now; the counts of their masks are read from the device."""
    return [
        Layer(p.name, tuple(p.weight.shape), int(torch.count_nonzero(p.mask)),
              p.param in weights_of(p.module), p.uses)
        for p in prunables
    ]  # fmt: skip


class Scope(Protocol):
    """A grouping of prunable tensors, and the cut of a group. The budget of a group is a share of all its entries.

    Attributes:
        by_tensor: whether the weights of each tensor are ranked by themselves.
    """

    by_tensor: ClassVar[bool]

    def groups(self, tensors: int) -> list[list[int]]:
        """Return the places of the tensors of each group, for that many tensors in all."""
        ...

    def check(self, layers: Sequence[Layer], kept: int, one_each: bool) -> None:
        """Refuse a budget of `kept` weights that cannot be had.

        Args:
            layers: the layers as they are before pruning.
            kept: how many weights stay in the whole network.
            one_each: whether the scores keep a weight of every layer (`Pruner.one_each`).

        Raises:
            Refused: one line that names the numbers.
        """
        ...

    def shrink(self, ranks: Sequence[torch.Tensor], prunables: Sequence[Prunable], kept: int, floor: int) -> None:
        """Shrink the masks of one group, in place, to the `kept` largest of `ranks`; `floor` is as in `keep_largest`."""
        ...


@dataclass(frozen=True)
class Global:
    """All weights of the network are ranked together."""

    by_tensor: ClassVar[bool] = False

    def groups(self, tensors: int) -> list[list[int]]:
        """One group of all tensors."""
        return [list(range(tensors))]

    def check(self, layers: Sequence[Layer], kept: int, one_each: bool) -> None:
        """Refuse fewer weights than layers, if every layer keeps one; see `Scope.check`."""
        if one_each and kept < sum(layer.alive > 0 for layer in layers):
            raise Refused(f"a budget of {kept} weights is too small for {len(layers)} layers, of which each keeps its largest")

    def shrink(self, ranks: Sequence[torch.Tensor], prunables: Sequence[Prunable], kept: int, floor: int) -> None:
        """Keep the largest of all tensors together."""
        keep_largest(ranks, [p.mask for p in prunables], kept, floor)


@dataclass(frozen=True)
class Local:
    """Each tensor is ranked by itself, and all have the same density, each rounded by itself."""

    by_tensor: ClassVar[bool] = True

    def groups(self, tensors: int) -> list[list[int]]:
        """A group for each tensor."""
        return [[i] for i in range(tensors)]

    def check(self, layers: Sequence[Layer], kept: int, one_each: bool) -> None:
        """Refuse nothing."""

    def shrink(self, ranks: Sequence[torch.Tensor], prunables: Sequence[Prunable], kept: int, floor: int) -> None:
        """Keep the largest of the one tensor."""
        keep_largest(ranks, [p.mask for p in prunables], kept, floor)


@dataclass(frozen=True)
class LayerBudgets:
    """Each tensor is ranked by itself, within the budget that `distribution` gives it of the network's."""

    by_tensor: ClassVar[bool] = True
    distribution: Distribution

    def groups(self, tensors: int) -> list[list[int]]:
        """One group of all tensors, because their budgets depend on each other."""
        return [list(range(tensors))]

    def check(self, layers: Sequence[Layer], kept: int, one_each: bool) -> None:
        """Refuse what the distribution refuses."""
        self.distribution.budgets(layers, kept)

    def shrink(self, ranks: Sequence[torch.Tensor], prunables: Sequence[Prunable], kept: int, floor: int) -> None:
        """Keep the largest of each tensor, `kept` in all, or all that are alive if those are fewer."""
        layers = layers_of(prunables)
        budgets = self.distribution.budgets(layers, min(kept, sum(layer.alive for layer in layers)))
        for rank, prunable, budget in zip(ranks, prunables, budgets, strict=True):
            keep_largest([rank], [prunable.mask], budget, floor=budget)


SCOPES: Mapping[str, Scope] = {"global": Global(), "local": Local()}


def choose_scope(scope: Scope | str, distribution: Distribution | str | None) -> Scope:
    """Return the scope of that name, or the budgets of `distribution`, which stands above it.

    Raises:
        ValueError: no scope or no distribution has this name.
    """
    if distribution is not None:
        return LayerBudgets(look_up(distribution, DISTRIBUTIONS, "mask distribution"))
    return look_up(scope, SCOPES, "mask scope")
