"""Budgets and selection: how many weights stay, and which.

Everything here is exact. The budget is an integer; the weights kept are those with the largest scores among the survivors;
equal scores are ordered by position (the earlier one stays), so a mask has exactly the size asked, which a threshold
alone cannot promise. One thing is Synaptic-Flow's: in a round before the last, a handful of scores that tie for the last
places go together. Iterating amplifies a single weight, so its masks cannot be had otherwise: on VGG-16 one pair split in
round 7 of 100 moves hundreds of weights by the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

SCHEDULES = ("exponential", "linear")
COINCIDENCE = 16  # ties up to this size are accidents of rounding; among 15 million float32 scores pairs are common
SAMPLE = 1 << 16  # scores looked at to bracket the cut


def kept_count(total: int, density: float) -> int:
    """The number of weights that `density` keeps of `total`: N - floor((1 - d) N + 1e-6).

    The 1e-6 makes decimal densities exact (0.9 of 10 is 9) and changes no count of Synaptic-Flow's.
    """
    return total - math.floor((1.0 - density) * total + 1e-6)


def scheduled_density(density: float, round_index: int, rounds: int, schedule: str, start: float = 1.0) -> float:
    """The density after round `round_index` (from 0) of `rounds` on the way from `start` to `density`.

    `exponential`: s (d/s)^((k+1)/n), from s = 1 the schedule of SynFlow's algorithm 1 (Tanaka et al. 2020); `linear`:
    s - (s-d)(k+1)/n.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"compression schedule {schedule!r}: choose from {', '.join(SCHEDULES)}")
    if round_index + 1 == rounds:
        return density
    progress = (round_index + 1) / rounds
    if schedule == "exponential":
        return start * (density / start) ** progress
    return start - (start - density) * progress


def keep_largest(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """Shrink `masks` in place to the `kept` survivors with the largest scores over all tensors together.

    Args:
        scores: one tensor per mask, of the mask's shape; finite wherever the mask is one.
        masks: zeros and ones; what is zero stays zero, so fewer than `kept` ones are all left.
        kept: how many ones to leave.
        floor: the last round's `kept`. Up to `COINCIDENCE` survivors that tie for the last places all go, as in
            Synaptic-Flow, where this leaves `floor` or more; any other tie is split by position.
    """
    on_cpu = all(m.device.type == "cpu" for m in masks)
    (_shrink_on_cpu if on_cpu else _shrink_on_device)(scores, masks, kept, floor)


def _shrink_on_device(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """Reads nothing back from the device."""
    ranked = torch.cat([torch.where(m > 0, s, -torch.inf).reshape(-1) for s, m in zip(scores, masks, strict=True)])
    # Not `kthvalue`: on CUDA one block of threads looks for it, for a tenth of a second in VGG-16, and torch 2.9 has it not
    # deterministic.
    cut = ranked.topk(min(max(kept, 1), ranked.numel()), sorted=False).values.amin()
    above, ties = ranked > cut, (ranked == cut) & (ranked > -torch.inf)
    short = kept - above.sum()
    whole = (short < ties.sum()) & (ties.sum() <= COINCIDENCE) & (above.sum() >= floor)
    keep = above | (ties & (ties.cumsum(0) <= torch.where(whole, 0, short)))
    for mask, part in zip(masks, keep.split([m.numel() for m in masks]), strict=True):
        mask.copy_(part.view_as(mask))


def _shrink_on_cpu(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """The same in numpy, for the cost of a few comparisons: only the scores near the cut and below it are collected."""
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
    """A value that the smallest `share` of the survivors stay below, almost surely, read off a sample; inf for few."""
    step = sum(a.numel() for a in flat) // SAMPLE
    if step < 8:
        return math.inf
    sample = np.sort(torch.cat([f[::step][a[::step]] for f, a in zip(flat, alive, strict=True)]).numpy())
    place = sample.size * share + 5 * math.sqrt(sample.size * share * (1 - share)) + 5
    return float(sample[int(place)]) if place < sample.size else math.inf


def _smallest(
    flat: Sequence[torch.Tensor], alive: Sequence[torch.Tensor], bound: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """Places (one array per tensor) and values (all together) of the survivors up to `bound`, in order of position."""
    places = [np.flatnonzero((f <= bound).logical_and_(a).numpy()) for f, a in zip(flat, alive, strict=True)]
    return places, np.concatenate([f.numpy()[p] for f, p in zip(flat, places, strict=True)])
