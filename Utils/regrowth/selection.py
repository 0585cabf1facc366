"""The selection of the pruned weights that come back: each weight gets a score, and the largest scores win."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from Models.masking import Prunable
from Utils.base.seeds import generator
from Utils.options.groups.regrowth_options import SELECTIONS as KINDS
from Utils.training.gradients import Batches, gradients_by_batch

Tensors = Mapping[str, torch.Tensor]


@dataclass
class Sources:
    """Values of the weights that were pruned: name of the layer -> tensor of the weight's shape.

    Attributes:
        dense: the weights of the trained dense network.
        dense_state: its whole `state_dict`, without masks.
        original: the stored values: those of the dense network, of the initial one, or `weight_orig` of a foreign file.
        reference: effective weights of a less sparse network.
        reference_masks: its masks.
        notes: lines that a reader of the results must know.
    """

    dense: Tensors | None = None
    dense_state: dict[str, Any] | None = None
    original: Tensors | None = None
    reference: Tensors | None = None
    reference_masks: Tensors | None = None
    notes: list[str] = field(default_factory=list)

    def values(self, init: str) -> Tensors | None:
        """Return the values that `regrow_` copies for the `init` `reference` or `original`.

        For `reference` they are those of the reference where it is alive, else the dense weights.
        """
        if init != "reference" or self.reference is None:
            return self.dense if init == "reference" else self.original
        masks, rest = self.reference_masks or {}, self.dense or self.original or {}
        return {
            name: torch.where(masks[name] > 0, w, rest[name].to(w) if name in rest else torch.zeros_like(w))
            for name, w in self.reference.items()
        }


def mean_gradients(
    model: nn.Module, layers: Mapping[str, Prunable], batches: Batches, weights: Tensors | None = None, *, squared: bool = False
) -> dict[str, torch.Tensor]:
    """Return the gradients of `gradients_by_batch` averaged over the batches, a tensor for each layer; with `squared`, of g^2.

    Raises:
        ValueError: there is no batch.
    """
    sums = {name: torch.zeros_like(p.weight) for name, p in layers.items()}
    count = 0
    for found in gradients_by_batch(model, layers, batches, weights):
        for name, gradient in found.items():
            sums[name].add_(gradient.square() if squared else gradient)
        count += 1
    if not count:
        raise ValueError("no batch to take gradients of")
    return {name: total / count for name, total in sums.items()}


def pruned_scores(
    kind: str,
    model: nn.Module,
    layers: Mapping[str, Prunable],
    *,
    sources: Sources,
    batches: Batches = (),
    dense_model: nn.Module | None = None,
    seed: int = 0,
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return a score for each weight, of which `regrow_` uses those of pruned weights, and notes on the scores.

    `batches` may be read twice. The kinds are:

    `random`: uniform draws. `magnitude`: the absolute stored value. `gradient`: |dL/dw| at the effective weights of the sparse
    network (Evci et al. 2020). `reference`: weights alive in the reference by |reference weight|, then the others by |dense
    weight|. `saliency`: the mean over the batches of g^2 w^2, of the dense network (`dense_model`) if there is one, else with g
    of the sparse network and the stored w. If all saliencies of the pruned weights of a layer are equal, |g| ranks them.

    Raises:
        ValueError: an unknown kind, or its sources are missing.
    """
    if kind == "random":
        draws = generator(seed, "regrow", "random")
        return {n: torch.rand(p.weight.shape, generator=draws).to(p.weight.device) for n, p in layers.items()}, []
    if kind == "gradient":
        return {n: g.abs() for n, g in mean_gradients(model, layers, batches).items()}, []
    if kind == "magnitude":
        return _absolute(_given(sources.original, "magnitude", "the stored values of pruned weights"), layers), []
    if kind == "reference":
        return _reference_scores(layers, sources), []
    if kind == "saliency":
        return _saliency_scores(model, layers, sources, batches, dense_model)
    raise ValueError(f"selection {kind!r}: choose from {', '.join(KINDS)}")


def _given(tensors: Tensors | None, kind: str, what: str) -> Tensors:
    if tensors is None:
        raise ValueError(f"selection {kind} needs {what}")
    return tensors


def _absolute(tensors: Tensors, layers: Mapping[str, Prunable]) -> dict[str, torch.Tensor]:
    return {name: tensors[name].to(p.weight).abs() for name, p in layers.items()}


def _reference_scores(layers: Mapping[str, Prunable], sources: Sources) -> dict[str, torch.Tensor]:
    """Return |dense weight| squashed below 1; for weights alive in the reference, 1 + |reference weight| squashed too."""
    if sources.reference is None:
        return _absolute(_given(sources.dense, "reference", "a dense or a reference network"), layers)
    behind = sources.dense or sources.original
    scores = {}
    for name, p in layers.items():
        first = sources.reference[name].to(p.weight).abs().double()
        rest = torch.zeros_like(first) if behind is None else behind[name].to(p.weight).abs().double()
        alive = sources.reference_masks[name].to(p.weight.device) > 0
        scores[name] = torch.where(alive, 1 + first / (1 + first), rest / (1 + rest))
    return scores


def _saliency_scores(
    model: nn.Module,
    layers: Mapping[str, Prunable],
    sources: Sources,
    batches: Batches,
    dense_model: nn.Module | None,
) -> tuple[dict[str, torch.Tensor], list[str]]:
    notes = []
    if dense_model is not None and sources.dense is not None:
        values = {name: sources.dense[name].to(p.weight) for name, p in layers.items()}
        squares = mean_gradients(dense_model, layers, batches, values, squared=True)
    else:
        notes.append("saliency without a dense network: gradients of the sparse network, stored values of the pruned weights")
        stored = sources.original or {}
        values = {n: stored[n].to(p.weight) if n in stored else torch.zeros_like(p.weight) for n, p in layers.items()}
        squares = mean_gradients(model, layers, batches, squared=True)
    scores, flat = {}, []
    for name, p in layers.items():
        scores[name] = squares[name] * values[name].square()
        low, high = scores[name][p.mask == 0].aminmax() if bool((p.mask == 0).any()) else (0.0, 1.0)
        if bool(low == high):
            flat.append(name)
    if flat:
        where = ", ".join(flat)
        notes.append(f"all saliencies of the pruned weights are equal in {where}: |gradient| of the sparse network ranks them")
        gradients = mean_gradients(model, {n: layers[n] for n in flat}, batches)
        scores |= {name: gradient.abs() for name, gradient in gradients.items()}
    return scores, notes
