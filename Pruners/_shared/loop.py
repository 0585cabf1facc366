"""The rounds of pruning: score, budget, select, mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from tqdm import tqdm

from Models.masking import Prunable
from Models.reach import has_path
from Pruners._shared.base import Pruner
from Pruners._shared.distributions import Distribution, Layer
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Problem
from Pruners._shared.schedules import Schedule, scheduled_density
from Pruners._shared.scopes import Scope, choose_scope, layers_of
from Pruners._shared.zero_scores import ZeroScores, likely_cause
from Utils.base.errors import RunFailed
from Utils.base.progress_bar import ROUND, run_progress
from Utils.base.seeds import generator


class Unscorable(RunFailed):
    """A method gave no scores to prune by: scores that are not finite, or zeros alone. The message says why."""


def prune_loop(
    problem: Problem,
    pruner: Pruner,
    density: float,
    *,
    start: float = 1.0,
    rounds: int,
    schedule: Schedule | str | None = None,
    scope: Scope | str = "global",
    distribution: Distribution | str | None = None,
    invert: bool = False,
    verbose: bool = False,
    zeros: ZeroScores | None = None,
) -> list[torch.Tensor]:
    """Shrink the masks of `problem`, of density `start`, to exactly the budget of `density` in `rounds` rounds.

    `schedule`, `scope` and `distribution` are objects or their names; without a schedule or a distribution the pruner's own
    count. Masks nest: a pruned weight never returns. `invert` removes the largest scores instead. `zeros` records the weights
    that the last cut of each group kept although their scores are zero, as are those of weights that it removed.

    Returns:
        The scores of the last round, one tensor per prunable parameter.

    Raises:
        Unscorable: the score of a surviving weight is NaN or infinite, or the first scores are all zero and would decide a cut.
        Refused: the budget is too small for the method or the distribution.
    """
    prunables, layers = problem.prunables, layers_of(problem.prunables)
    scope, schedule = choose_scope(scope, distribution or pruner.distribution), schedule or pruner.schedule
    densities = [scheduled_density(schedule, density, k, rounds, start) for k in range(rounds)]
    groups = [_Group.of(members, layers, densities) for members in scope.groups(len(prunables))]
    scope.check(layers, sum(group.budget for group in groups), pruner.one_each and not invert)
    scores: list[torch.Tensor] = []
    with run_progress() as progress, progress.section("pruning", {ROUND: rounds}):
        for k in range(rounds):
            with progress.work(ROUND, 1, f"prune round {k + 1}/{rounds}"):
                scores = _score(problem, pruner, k, decisive=k == 0 and any(group.last_cut is not None for group in groups))
                ranks = [-s for s in scores] if invert else scores
                for group in groups:
                    group.cut(k, scope, prunables, scores, ranks, zeros)
            if verbose:
                tqdm.write(f"prune round {k + 1}/{rounds}: {_share(prunables, groups)}")
    if (kept := _ones(prunables, groups)) != (budgets := [group.budget for group in groups]):
        raise AssertionError(f"kept {kept}, the budgets are {budgets}")
    if zeros:
        zeros.read(problem)
    return scores


@dataclass(frozen=True)
class _Group:
    """The tensors that share a budget.

    Attributes:
        members: their places among the prunables.
        size: the number of their entries.
        budget: the number of weights to keep.
        targets: the number of weights that each round keeps.
        last_cut: the last round that removes weights; None if none does.
    """

    members: list[int]
    size: int
    budget: int
    targets: list[int]
    last_cut: int | None

    def cut(
        self, k: int, scope: Scope, prunables: Sequence[Prunable], scores: Sequence[torch.Tensor], ranks: Sequence[torch.Tensor],
        zeros: ZeroScores | None,
    ) -> None:  # fmt: skip
        """Shrink the masks of the group in round `k`, by `ranks`; at its last cut `zeros` counts by `scores`."""
        members = [prunables[i] for i in self.members]
        before = [p.mask > 0 for p in members] if zeros and k == self.last_cut else None
        scope.shrink([ranks[i] for i in self.members], members, self.targets[k], floor=self.budget)
        if zeros and before:
            zeros.count([scores[i] for i in self.members], before, members, scope.by_tensor)

    @classmethod
    def of(cls, members: list[int], layers: Sequence[Layer], densities: Sequence[float]) -> _Group:
        """Plan the rounds of a group, whose densities are those of the network."""
        size, alive = sum(layers[i].size for i in members), sum(layers[i].alive for i in members)
        budget = min(kept_count(size, densities[-1]), alive)
        targets = [max(kept_count(size, density), budget) for density in densities]
        cuts = [k for k, (before, now) in enumerate(pairwise([alive, *targets])) if now < min(before, alive)]
        return cls(members, size, budget, targets, cuts[-1] if cuts else None)


def _score(problem: Problem, pruner: Pruner, round_index: int, decisive: bool) -> list[torch.Tensor]:
    """Compute and check the scores of one round.

    If they are `decisive`, zeros alone are refused, unless an earlier pruning left no path through the network.
    """
    with problem.scoring(round_index):
        scores = [s.detach() for s in pruner.score(problem)]
    some = _check(scores, problem.prunables)
    if decisive and not some and has_path(problem.model, problem.prunables, problem.input_shape):
        emptied = [p.name for p in problem.prunables if not bool(p.mask.any())]
        raise Unscorable(f"the scores of all layers are zero. {likely_cause(problem, emptied)}")
    return scores


def _share(prunables: Sequence[Prunable], groups: Sequence[_Group]) -> str:
    kept, size = sum(_ones(prunables, groups)), sum(group.size for group in groups)
    return f"{kept}/{size} kept ({kept / size:.4f})"


def _ones(prunables: Sequence[Prunable], groups: Sequence[_Group]) -> list[int]:
    """Count the ones in the masks of each group."""
    return [sum(int(torch.count_nonzero(prunables[i].mask)) for i in group.members) for group in groups]


def _check(scores: Sequence[torch.Tensor], prunables: Sequence[Prunable]) -> bool:
    """Refuse scores of a wrong shape, and scores of surviving weights that are not finite. Reads from the device once.

    Returns:
        Whether any score is not zero.

    Raises:
        ValueError: a wrong shape.
        Unscorable: NaN or infinity.
    """
    for score, prunable in zip(scores, prunables, strict=True):
        if score.shape != prunable.weight.shape:
            raise ValueError(f"{prunable.name}: scores of shape {tuple(score.shape)}, not {tuple(prunable.weight.shape)}")
    extremes = torch.stack([torch.stack(torch.aminmax(s)).double() for s in scores if s.numel()]).flatten().tolist()
    if all(map(math.isfinite, extremes)):
        return any(extremes)
    for score, prunable in zip(scores, prunables, strict=True):
        bad = int((~torch.isfinite(score) & (prunable.mask > 0)).sum())
        if bad:
            raise Unscorable(f"{prunable.name}: {bad} of {score.numel()} scores are not finite")
    return True


def shuffle_masks(prunables: Sequence[Prunable], seed: int, survivors: Sequence[torch.Tensor] | None = None) -> None:
    """Permute every mask within its tensor, in place; the kept count of each layer stays.

    `survivors` are the masks of a network that was pruned before: then a mask is permuted among their ones.
    """
    draws = generator(seed, "shuffle")
    for i, prunable in enumerate(prunables):
        mask = prunable.mask
        flat = mask.flatten()
        places = torch.arange(mask.numel()) if survivors is None else survivors[i].flatten().nonzero().squeeze(1).cpu()
        order = places[torch.randperm(len(places), generator=draws)]
        shuffled = flat.clone()
        shuffled[places.to(mask.device)] = flat[order.to(mask.device)]
        mask.copy_(shuffled.view_as(mask))
