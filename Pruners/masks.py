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
SAMPLE = 1 << 16  # values looked at to bracket a threshold: the bracket then holds about 1 % of all


def kept_count(total: int, density: float) -> int:
    """The number of weights that `density` keeps of `total`: N - floor((1 - d) N + 1e-6).

    The 1e-6 makes decimal densities exact (0.9 of 10 is 9) and changes no count of Synaptic-Flow's.
    """
    return total - math.floor((1.0 - density) * total + 1e-6)


def scheduled_density(density: float, round_index: int, rounds: int, schedule: str) -> float:
    """The density after round `round_index` (from 0) of `rounds` on the way to `density`.

    `exponential`: d^((k+1)/n), the schedule of SynFlow's algorithm 1 (Tanaka et al. 2020); `linear`: 1 - (1-d)(k+1)/n.
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"compression schedule {schedule!r}: choose from {', '.join(SCHEDULES)}")
    if round_index + 1 == rounds:
        return density
    progress = (round_index + 1) / rounds
    if schedule == "exponential":
        return density**progress
    return 1.0 - (1.0 - density) * progress


def keep_largest(scores: Sequence[torch.Tensor], masks: Sequence[torch.Tensor], kept: int, floor: int) -> None:
    """Shrink `masks` in place to the `kept` survivors with the largest scores over all tensors together.

    Args:
        scores: one tensor per mask, of the mask's shape; finite wherever the mask is one.
        masks: zeros and ones; what is zero stays zero, so fewer than `kept` ones are all left.
        kept: how many ones to leave.
        floor: the last round's `kept`. Up to `COINCIDENCE` survivors that tie for the last places all go, as in
            Synaptic-Flow, where this leaves `floor` or more; any other tie is split by position.
    """
    ranked = torch.cat([torch.where(m > 0, s, -torch.inf).reshape(-1) for s, m in zip(scores, masks, strict=True)])
    largest = _largest_on_cpu if ranked.device.type == "cpu" else _largest_on_device
    keep = largest(ranked, kept, floor) if kept > 0 else torch.zeros_like(ranked, dtype=torch.bool)
    for mask, part in zip(masks, keep.split([m.numel() for m in masks]), strict=True):
        mask.copy_(part.view_as(mask))


def _largest_on_device(values: torch.Tensor, kept: int, floor: int) -> torch.Tensor:
    """Which of `values` [N] are the `kept` > 0 largest above -inf, as a bool tensor [N]; reads nothing back from the device."""
    threshold = torch.kthvalue(values, max(values.numel() - kept, 0) + 1).values
    above, ties = values > threshold, (values == threshold) & (values > -torch.inf)
    short = kept - above.sum()
    whole = (short < ties.sum()) & (ties.sum() <= COINCIDENCE) & (above.sum() >= floor)
    return above | (ties & (ties.cumsum(0) <= torch.where(whole, 0, short)))


def _largest_on_cpu(values: torch.Tensor, kept: int, floor: int) -> torch.Tensor:
    """The same in numpy, several times quicker on a CPU: comparisons there beat torch's, and no full selection is made."""
    array = values.numpy()
    threshold = _kth_largest(array, min(kept, array.size))
    keep = array > threshold
    if threshold == -np.inf:
        return torch.from_numpy(keep)
    ties = np.flatnonzero(array == threshold)
    short = kept - np.count_nonzero(keep)
    if not (short < len(ties) <= COINCIDENCE and kept - short >= floor):
        keep[ties[:short]] = True
    return torch.from_numpy(keep)


def _kth_largest(array: np.ndarray, rank: int) -> np.floating:
    """The exact `rank`-th largest (from 1) of `array` [N], through a bracket read off a sample where that holds it."""
    size = array.size
    if size > 8 * SAMPLE:
        sample = np.sort(array[:: size // SAMPLE])
        middle = sample.size * (1.0 - rank / size)
        spread = 4.0 * math.sqrt(sample.size) / 2.0 + 2.0  # four deviations of a sampled quantile at the worst rank
        low = sample[max(0, math.floor(middle - spread))]
        high = sample[min(sample.size - 1, math.ceil(middle + spread))]
        above = np.count_nonzero(array > high)
        inside = array[(array >= low) & (array <= high)]
        if above < rank <= above + inside.size:
            place = inside.size - (rank - above)
            return np.partition(inside, place)[place]
    return np.partition(array, size - rank)[size - rank]
