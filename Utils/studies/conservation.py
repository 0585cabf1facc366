"""Measurements of the conservation laws of scores: per layer, per hidden unit, over training, over rounds.

Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, sections 4 to 6. In a chain of layers with homogeneous activations and
without biases, SynFlow's scores of each layer add up to R. For each hidden unit, the scores that enter and the scores that leave
have the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from Models.masking import Prunable
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Pruners.synflow import SynFlow
from Utils.studies.wiring import LAYERS, Wiring

ROUNDING = 1e-3  # relative differences below this are those of float32 sums


def layer_table(prunables: Sequence[Prunable], scores: Sequence[torch.Tensor]) -> pd.DataFrame:
    """Return one row per module with scores: module, size, inverse_size, score_sum, average_score = |score_sum / size|.

    `size` counts all scored elements of the module, pruned ones too, as Synaptic-Flow does: weights, biases if those are
    prunable, and likewise for BatchNorm and `Identity2d`. Sums are in float64.
    """
    sums: dict[str, list[float]] = {}
    for prunable, score in zip(prunables, scores, strict=True):
        size, total = sums.get(prunable.module_name, (0, 0.0))
        sums[prunable.module_name] = [size + score.numel(), total + float(score.double().sum())]
    return _averages([(name, size, total) for name, (size, total) in sums.items()])


def square_table(model: nn.Module) -> pd.DataFrame:
    """Return the same table for the squares of the weights and biases of each Conv2d and Linear layer."""
    rows = []
    for name, module in model.named_modules():
        if isinstance(module, LAYERS):
            tensors = [t.detach().double() for t in (module.weight, module.bias) if t is not None]
            rows.append((name, sum(t.numel() for t in tensors), sum(float(t.square().sum()) for t in tensors)))
    return _averages(rows)


def _averages(rows: Sequence[tuple[str, int, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["module", "size", "score_sum"])
    table.insert(2, "inverse_size", 1.0 / table["size"])
    table["average_score"] = (table["score_sum"] / table["size"]).abs()
    return table


def largest_deviation(totals: Sequence[float]) -> float:
    """Return the largest |total - mean| / |mean|; NaN if the mean is zero."""
    values = np.asarray(totals, dtype=float)
    mean = values.mean()
    return float(np.abs(values - mean).max() / abs(mean)) if mean else float("nan")


def unit_table(pairs: Sequence[tuple[str, str]], prunables: Sequence[Prunable], scores: Sequence[torch.Tensor]) -> pd.DataFrame:
    """Return one row per hidden unit between two consecutive layers: layer_in, layer_out, unit, in_score, out_score.

    A unit is a channel of a convolution or a neuron. `in_score` adds up the scores of its weights in `layer_in`, and of its bias
    if that has one. `out_score` adds up those of the weights of `layer_out` that it feeds: all places of a channel if the map was
    flattened. Scores of a norm between the two are not counted. Pairs without scores are left out.
    """
    found = {p.name: (p.module, s.double().cpu()) for p, s in zip(prunables, scores, strict=True)}
    parts = []
    for first, second in pairs:
        if f"{first}.weight" not in found or f"{second}.weight" not in found:
            continue
        entering = found[f"{first}.weight"][1].flatten(1).sum(1)
        if f"{first}.bias" in found:
            entering = entering + found[f"{first}.bias"][1]
        leaving = _leaving(*found[f"{second}.weight"]).reshape(len(entering), -1).sum(1)
        units = {"unit": range(len(entering)), "in_score": entering.numpy(), "out_score": leaving.numpy()}
        parts.append(pd.DataFrame({"layer_in": first, "layer_out": second} | units))
    columns = ["layer_in", "layer_out", "unit", "in_score", "out_score"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _leaving(module: nn.Module, score: torch.Tensor) -> torch.Tensor:
    """Return the score of each input of a layer, [inputs]; `score` is [outputs, inputs / groups, ...]."""
    groups = getattr(module, "groups", 1)
    return score.reshape(groups, score.shape[0] // groups, score.shape[1], -1).sum((1, 3)).reshape(-1)


def open_ends(model: nn.Module) -> int:
    """Count the biases, shifts and running means of `model` that are not zero: flow enters or leaves through them too."""
    tensors = [t for n, t in model.named_parameters() if n.endswith("bias")]
    tensors += [t for n, t in model.named_buffers() if n.endswith("running_mean")]
    return sum(bool(t.any()) for t in tensors)


def why_not_conserved(model: nn.Module, wiring: Wiring | None) -> str:
    """Explain in a clause why SynFlow's sums differ in this network; `wiring` is given if the layers have to be a chain."""
    reasons = []
    if ends := open_ends(model):
        reasons.append(f"{ends} biases or shifts are not zero, and through them flow enters beside the image")
    if wiring and not wiring.is_chain:
        reasons.append("the layers are no simple chain, and parallel paths share the flow")
    return "; ".join(reasons) or "an activation is not homogeneous"


class WatchedSynFlow(SynFlow):
    """SynFlow itself, which also records each round's R and the scores that the round removed.

    Attributes:
        flows: R of each round.
        removed: the sum of the scores that each round removed; the last one is known after `close`.
    """

    def __init__(self) -> None:
        self.flows: list[float] = []
        self.removed: list[float] = []
        self._last: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._flow = torch.zeros(())

    def flow(  # type: ignore[override]
        self, problem: Problem, dtype: torch.dtype, scaled: bool = False
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Compute SynFlow's flow, and remember R."""
        scores, self._flow = SynFlow.flow(problem, dtype, scaled)
        return scores, self._flow

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Compute SynFlow's scores."""
        self.close(problem)
        scores = super().score(problem)
        self.flows.append(float(self._flow))
        self._last = [(s, m.clone()) for s, m in zip(scores, problem.masks, strict=True)]
        return scores

    def close(self, problem: Problem) -> None:
        """Record the scores that the round before removed, from the masks now."""
        if self._last:
            gone = [(s.double() * (m - now)).sum() for (s, m), now in zip(self._last, problem.masks, strict=True)]
            self.removed.append(float(torch.stack(gone).sum()))


def schedule_rounds(
    problem: Problem,
    density: float,
    rounds: int,
    schedule: str,
    verbose: bool = False,
    survivors: Sequence[torch.Tensor] | None = None,
) -> pd.DataFrame:
    """Prune by SynFlow from all weights, or from the masks `survivors`, to `density`; return a row per round.

    Columns: round, removed_score, max_flow, ratio of the two. `max_flow` is R at the start of the round: the sum of the scores of
    any cut, if flow enters only through the image. The masks stay pruned; ratios are NaN once the flow is zero.

    Raises:
        Unscorable: SynFlow cannot score this network.
    """
    masks = problem.masks
    for mask, start in zip(masks, survivors or map(torch.ones_like, masks), strict=True):
        mask.copy_(start)
    begun = sum(int(torch.count_nonzero(m)) for m in masks) / sum(m.numel() for m in masks)
    pruner = WatchedSynFlow()
    prune_loop(problem, pruner, density, start=begun, rounds=rounds, schedule=schedule, verbose=verbose)
    pruner.close(problem)
    table = pd.DataFrame({"round": range(1, rounds + 1), "removed_score": pruner.removed, "max_flow": pruner.flows})
    table["ratio"] = table["removed_score"] / table["max_flow"].where(table["max_flow"] > 0)
    return table
