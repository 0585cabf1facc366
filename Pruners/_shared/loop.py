"""The rounds of pruning: score, budget, select, mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from Models.masking import Prunable
from Pruners._shared.base import Pruner
from Pruners._shared.distributions import Distribution
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Problem
from Pruners._shared.schedules import Schedule, scheduled_density
from Pruners._shared.scopes import Scope, choose_scope, layers_of
from Utils.base.errors import RunFailed
from Utils.base.seeds import generator


class NonFiniteScores(RunFailed):
    """A method gave scores that are not finite; the message names the layer."""


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
) -> list[torch.Tensor]:
    """Shrink the masks of `problem`, of density `start`, to exactly the budget of `density` in `rounds` rounds.

    `schedule`, `scope` and `distribution` are objects or their names; without a schedule or a distribution the pruner's own
    count. Masks nest: a pruned weight never returns. `invert` removes the largest scores instead.

    Returns:
        The scores of the last round, one tensor per prunable parameter.

    Raises:
        NonFiniteScores: the score of a surviving weight is NaN or infinite.
        Refused: the budget is too small for the method or the distribution.
    """
    prunables, layers = problem.prunables, layers_of(problem.prunables)
    scope, schedule = choose_scope(scope, distribution or pruner.distribution), schedule or pruner.schedule
    groups = scope.groups(len(prunables))
    sizes = [sum(layers[i].size for i in group) for group in groups]
    alive = [sum(layers[i].alive for i in group) for group in groups]
    budgets = [min(kept_count(size, density), now) for size, now in zip(sizes, alive, strict=True)]
    scope.check(layers, sum(budgets), pruner.one_each and not invert)
    scores: list[torch.Tensor] = []
    bar = tqdm(range(rounds), desc="prune", unit="round", leave=False, disable=None)
    for k in bar:
        scores = _score(problem, pruner, k)
        ranks = [-s for s in scores] if invert else scores
        now = scheduled_density(schedule, density, k, rounds, start)
        for group, size, budget in zip(groups, sizes, budgets, strict=True):
            kept = max(kept_count(size, now), budget)
            scope.shrink([ranks[i] for i in group], [prunables[i] for i in group], kept, floor=budget)
        if verbose:
            bar.write(f"prune round {k + 1}/{rounds}: {_share(sum(_ones(prunables, groups)), sum(sizes))}")
    if _ones(prunables, groups) != budgets:
        raise AssertionError(f"kept {_ones(prunables, groups)}, the budgets are {budgets}")
    return scores


def _score(problem: Problem, pruner: Pruner, round_index: int) -> list[torch.Tensor]:
    """Compute and check the scores of one round."""
    with problem.scoring(round_index):
        scores = [s.detach() for s in pruner.score(problem)]
    _check(scores, problem.prunables)
    return scores


def _share(kept: int, size: int) -> str:
    return f"{kept}/{size} kept ({kept / size:.4f})"


def _ones(prunables: Sequence[Prunable], groups: Sequence[Sequence[int]]) -> list[int]:
    """Count the ones in the masks of each group."""
    return [sum(int(torch.count_nonzero(prunables[i].mask)) for i in group) for group in groups]


def _check(scores: Sequence[torch.Tensor], prunables: Sequence[Prunable]) -> None:
    """Refuse scores of a wrong shape, and scores of surviving weights that are not finite.

    Raises:
        ValueError: a wrong shape.
        NonFiniteScores: NaN or infinity.
    """
    for score, prunable in zip(scores, prunables, strict=True):
        if score.shape != prunable.weight.shape:
            raise ValueError(f"{prunable.name}: scores of shape {tuple(score.shape)}, not {tuple(prunable.weight.shape)}")
    extremes = torch.stack([torch.stack(torch.aminmax(s)).double() for s in scores if s.numel()])
    if torch.isfinite(extremes).all():
        return
    for score, prunable in zip(scores, prunables, strict=True):
        bad = int((~torch.isfinite(score) & (prunable.mask > 0)).sum())
        if bad:
            raise NonFiniteScores(f"{prunable.name}: {bad} of {score.numel()} scores are not finite")


def shuffle_masks(prunables: Sequence[Prunable], seed: int) -> None:
    """Permute every mask within its tensor, in place; the kept count of each layer stays."""
    draws = generator(seed, "shuffle")
    for prunable in prunables:
        mask = prunable.mask
        order = torch.randperm(mask.numel(), generator=draws).to(mask.device)
        mask.copy_(mask.reshape(-1)[order].view_as(mask))
