"""Budgets and selection: how many weights stay, and which.

The budget is an integer. The weights with the largest scores among the survivors stay, and of equal scores the earlier position
stays, so that a mask has exactly the size asked; a threshold alone cannot promise that.

One rule is that of Synaptic-Flow, whose masks cannot be reproduced without it: in a round before the last, a handful of scores
that tie for the last places are pruned together. Rounds amplify a single weight: on VGG-16 one pair that is split in round 7 of
100 moves hundreds of weights by the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

COINCIDENCE = 16  # ties up to this size are accidents of rounding; among 15 million float32 scores pairs are common
SAMPLE = 1 << 16  # scores looked at to bracket the cut


def kept_count(total: int, density: float) -> int:
    """Return how many of `total` weights `density` keeps: N - floor((1 - d) N + 1e-6).

    The 1e-6 makes decimal densities exact (0.9 of 10 is 9) and changes no count of Synaptic-Flow.
    """
    return total - math.floor((1.0 - density) * total + 1e-6)


def keep_largest(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """Shrink `masks` in place to the `kept` survivors with the largest scores over all tensors together.

    Args:
        scores: one tensor per mask, of the mask's shape; finite wherever the mask is one.
        masks: zeros and ones. Zeros stay zeros; masks of fewer than `kept` ones stay as they are.
        kept: how many ones to leave.
        floor: the `kept` of the last round. Up to `COINCIDENCE` survivors that tie for the last places are all pruned, as in
            Synaptic-Flow, if `floor` ones or more are left then; any other tie is split by position.
    """
    on_cpu = all(m.device.type == "cpu" for m in masks)
    (_shrink_on_cpu if on_cpu else _shrink_on_device)(scores, masks, kept, floor)


def _shrink_on_device(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """Select with operations of the device alone, so that the host never waits for it."""
    ranked = torch.cat([torch.where(m > 0, s, -torch.inf).reshape(-1) for s, m in zip(scores, masks, strict=True)])
    # Not `kthvalue`: on CUDA one block of threads does it, in a tenth of a second for VGG-16, and torch 2.9 has no deterministic
    # form of it.
    cut = ranked.topk(min(max(kept, 1), ranked.numel()), sorted=False).values.amin()
    above, ties = ranked > cut, (ranked == cut) & (ranked > -torch.inf)
    short = kept - above.sum()
    whole = (short < ties.sum()) & (ties.sum() <= COINCIDENCE) & (above.sum() >= floor)
    keep = above | (ties & (ties.cumsum(0) <= torch.where(whole, 0, short)))
    for mask, part in zip(masks, keep.split([m.numel() for m in masks]), strict=True):
        mask.copy_(part.view_as(mask))


def _shrink_on_cpu(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """Select in numpy, for the cost of a few comparisons: only the scores near the cut and below it are collected."""
    flat = [s.reshape(-1) for s in scores]
    alive = [m.reshape(-1) > 0 for m in masks]
    count = sum(np.count_nonzero(a.numpy()) for a in alive)
    drop = count - kept
    if drop <= 0:
        return
    places, values = _smallest(flat, alive, _bound(flat, alive, drop / count))
    if values.size < drop:  # the sample misled
        places, values = _smallest(flat, alive, math.inf)
    cut = np.partition(values, drop - 1)[drop - 1]
    gone = values < cut
    ties = np.flatnonzero(values == cut)
    spare = np.count_nonzero(gone) + len(ties) - drop  # how many of the ties may stay
    if spare and len(ties) <= COINCIDENCE and kept - spare >= floor:
        spare = 0
    gone[ties[spare:]] = True
    ends = np.cumsum([len(p) for p in places])[:-1]
    for mask, place, out in zip(masks, places, np.split(gone, ends), strict=True):
        whole = mask.contiguous()
        whole.view(-1).numpy()[place[out]] = 0
        if whole is not mask:
            mask.copy_(whole)


def _bound(flat: Sequence[torch.Tensor], alive: Sequence[torch.Tensor], share: float) -> float:
    """Estimate from a sample a value almost surely above the smallest `share` of the survivors; inf for few scores."""
    step = sum(a.numel() for a in flat) // SAMPLE
    if step < 8:
        return math.inf
    sample = np.sort(torch.cat([f[::step][a[::step]] for f, a in zip(flat, alive, strict=True)]).numpy())
    place = sample.size * share + 5 * math.sqrt(sample.size * share * (1 - share)) + 5
    return float(sample[int(place)]) if place < sample.size else math.inf


def _smallest(
    flat: Sequence[torch.Tensor], alive: Sequence[torch.Tensor], bound: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the places (one array per tensor) and values (all together) of the survivors up to `bound`, by position."""
    places = [np.flatnonzero((f <= bound).logical_and_(a).numpy()) for f, a in zip(flat, alive, strict=True)]
    return places, np.concatenate([f.numpy()[p] for f, p in zip(flat, places, strict=True)])
