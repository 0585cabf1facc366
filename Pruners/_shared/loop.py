"""The rounds: score, budget, select, mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from Models.masking import Prunable
from Pruners._shared.base import Pruner
from Pruners._shared.layerwise import check_budget, layer_budgets, layers_of
from Pruners._shared.masks import keep_largest, kept_count, scheduled_density
from Pruners._shared.problem import Problem
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
    schedule: str = "exponential",
    scope: str = "global",
    distribution: str | None = None,
    invert: bool = False,
    verbose: bool = False,
) -> list[torch.Tensor]:
    """Shrink the masks of `problem`, of density `start`, to exactly the budget of `density` in `rounds` rounds of scoring.

    Scope `global` ranks all weights together, `local` each tensor by itself. A `distribution` (`layerwise.py`, or the
    pruner's own) stands above both: each tensor is ranked by itself, within the budget that it gives. Masks nest: a pruned
    weight never returns, and a round keeps no more than the one before. `invert` removes the largest scores instead.

    Returns:
        The scores of the last round, one tensor per prunable parameter.

    Raises:
        NonFiniteScores: the score of a surviving weight is NaN or infinite.
        Refused: the budget is too small for the method or the distribution.
    """
    masks = problem.masks
    distribution = distribution or pruner.distribution
    together = scope == "global" or distribution is not None
    groups = [list(range(len(masks)))] if together else [[i] for i in range(len(masks))]
    sizes = [sum(masks[i].numel() for i in group) for group in groups]
    alive = _ones(masks, groups)
    budgets = [min(kept_count(size, density), now) for size, now in zip(sizes, alive, strict=True)]
    check_budget(distribution, layers_of(problem.prunables), sum(budgets), pruner.one_each and together and not invert)
    scores: list[torch.Tensor] = []
    bar = tqdm(range(rounds), desc="prune", unit="round", leave=False, disable=None)
    for k in bar:
        with problem.scoring(k):
            scores = [s.detach() for s in pruner.score(problem)]
        _check(scores, problem.prunables)
        ranks = [-s for s in scores] if invert else scores
        now = scheduled_density(density, k, rounds, schedule, start)
        for size, group, budget in zip(sizes, groups, budgets, strict=True):
            kept = max(kept_count(size, now), budget)
            if distribution:
                _keep_by_layer(distribution, problem.prunables, ranks, kept)
            else:
                keep_largest([ranks[i] for i in group], [masks[i] for i in group], kept, floor=budget)
        if verbose:
            bar.write(f"prune round {k + 1}/{rounds}: {_share(sum(_ones(masks, groups)), sum(sizes))}")
    if _ones(masks, groups) != budgets:
        raise AssertionError(f"kept {_ones(masks, groups)}, the budgets are {budgets}")
    return scores


def _share(kept: int, size: int) -> str:
    return f"{kept}/{size} kept ({kept / size:.4f})"


def _keep_by_layer(distribution: str, prunables: Sequence[Prunable], ranks: Sequence[torch.Tensor], kept: int) -> None:
    """Shrink the masks to `kept` weights in all, or to what is alive if that is less, each within its layer's budget."""
    layers = layers_of(prunables)
    budgets = layer_budgets(distribution, layers, min(kept, sum(layer.alive for layer in layers)))
    for rank, prunable, budget in zip(ranks, prunables, budgets, strict=True):
        keep_largest([rank], [prunable.mask], budget, floor=budget)


def _ones(masks: Sequence[torch.Tensor], groups: Sequence[Sequence[int]]) -> list[int]:
    """The number of ones in each group of masks."""
    return [sum(int(torch.count_nonzero(masks[i])) for i in group) for group in groups]


def _check(scores: Sequence[torch.Tensor], prunables: Sequence[Prunable]) -> None:
    """Refuse scores of a wrong shape, and those of surviving weights that are not finite."""
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
