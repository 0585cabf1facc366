"""Turning pruned weights on again: masks and values change only at the chosen places."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from Models.masking import Prunable
from Pruners._shared.masks import keep_largest
from Utils.base.seeds import generator
from Utils.options.groups.regrowth_options import INITS


def choose(scores: torch.Tensor, mask: torch.Tensor, count: int) -> torch.Tensor:
    """Return the flat places (int64, rising) of the `count` pruned weights with the largest scores; ties go by position.

    Raises:
        ValueError: fewer than `count` weights are pruned, or a score of one is NaN.
    """
    candidates = (mask == 0).to(mask.dtype)
    if count > int(candidates.sum()):
        raise ValueError(f"{count} weights cannot be regrown: {int(candidates.sum())} are pruned")
    if bool((torch.isnan(scores) & (mask == 0)).any()):
        raise ValueError("a score is not a number")
    keep_largest([scores.nan_to_num(0.0)], [candidates], count, floor=count)
    return candidates.reshape(-1).nonzero().reshape(-1)


@torch.no_grad()
def regrow_(
    layers: Mapping[str, Prunable],
    allocation: Mapping[str, int],
    scores: Mapping[str, torch.Tensor],
    init: str,
    sources: Mapping[str, torch.Tensor] | None = None,
    seed: int = 0,
) -> dict[str, torch.Tensor]:
    """Turn on, in place, the `allocation` of each layer: its pruned weights with the largest `scores`.

    Args:
        layers: name -> prunable weight; alive weights and their mask stay bit for bit.
        allocation: name -> number of weights.
        scores: name -> a tensor of the weight's shape; those at alive places do not matter.
        init: the values of the new weights, of `INITS`: 0, U(-sqrt(6 / fan-in), +) or the values of `sources`.
        sources: name -> tensor of the weight's shape, for `reference` and `original`.
        seed: the seed of the draws of `kaiming`, made on the CPU.

    Returns:
        name -> the flat places that were turned on, int64, on the weight's device.
    """
    chosen = {name: choose(scores[name], layers[name].mask, count) for name, count in allocation.items() if count}
    revive_(layers, chosen, init, sources, seed)
    return chosen


@torch.no_grad()
def revive_(
    layers: Mapping[str, Prunable],
    places: Mapping[str, torch.Tensor],
    init: str,
    sources: Mapping[str, torch.Tensor] | None = None,
    seed: int = 0,
) -> None:
    """Turn on the flat `places` (int64) of each layer, in place; see `regrow_`.

    Raises:
        ValueError: an unknown `init`, or its source is missing.
    """
    for name, at in places.items():
        weight, mask = layers[name].weight, layers[name].mask
        values = _values(init, weight, at, (sources or {}).get(name), seed, name)
        _put(mask, at, torch.ones((), dtype=mask.dtype, device=mask.device).expand(len(at)))
        _put(weight, at, values)


def _put(tensor: torch.Tensor, at: torch.Tensor, values: torch.Tensor) -> None:
    """Scatter into the flat order of a tensor of any memory format."""
    flat = tensor.reshape(-1).scatter(0, at, values)
    tensor.copy_(flat.view(tensor.shape))


def _values(
    init: str, weight: torch.Tensor, at: torch.Tensor, source: torch.Tensor | None, seed: int, name: str
) -> torch.Tensor:
    if init == "zero":
        return weight.new_zeros(len(at))
    if init == "kaiming":
        bound = math.sqrt(6.0 / nn.init._calculate_fan_in_and_fan_out(weight)[0])
        draws = torch.rand(len(at), generator=generator(seed, "regrow", name), dtype=torch.float64)
        return ((2 * draws - 1) * bound).to(weight.device, weight.dtype)
    if init not in INITS:
        raise ValueError(f"init {init!r}: choose from {', '.join(INITS)}")
    if source is None:
        raise ValueError(f"init {init} needs values for {name}")
    return source.to(weight.device, weight.dtype).reshape(-1)[at]
