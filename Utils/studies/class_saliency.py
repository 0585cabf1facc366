"""Saliencies by class: the effect of each weight on the loss of each class, and how evenly the classes share weights.

For one class, over batches of its images alone: first order |g|, second order g^2 w^2, both averaged over the batches. g is the
gradient of the mean loss of a batch with respect to the effective weight (FairPrune, Wu et al. 2022; the statistics are those of
Bidirection-Prune-Regrowth). Only kept weights count. No tensor of the size classes x weights is ever held.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import nn

from Models.masking import Prunable
from Utils.data.dataset import Dataset
from Utils.training.gradients import gradients_by_batch

ORDERS = ("first", "second")
COLUMNS = 300  # columns of the heat map in total; each layer has some of them
LEAST = 6  # columns of the smallest layer


@dataclass
class Spread:
    """The spread of one tensor and order over the classes seen so far.

    Attributes:
        total: the sum over classes, per kept weight.
        high: the largest value.
        low: the smallest value.
        top: the class of the largest value.
        count: the number of classes.
    """

    total: torch.Tensor
    high: torch.Tensor
    low: torch.Tensor
    top: torch.Tensor
    count: int = 0

    def add(self, values: torch.Tensor, label: int) -> None:
        """Add the saliencies [K] of the kept weights for class `label`."""
        larger = values > self.high
        self.top = torch.where(larger, label, self.top)
        self.high, self.low = torch.maximum(self.high, values), torch.minimum(self.low, values)
        self.total += values
        self.count += 1


@dataclass
class Saliencies:
    """The results: rows by class and layer, spreads by (order, layer), heat maps by order: class -> [columns]."""

    rows: list[dict[str, object]] = field(default_factory=list)
    spreads: dict[tuple[str, str], Spread] = field(default_factory=dict)
    maps: dict[str, dict[int, torch.Tensor]] = field(default_factory=lambda: {order: {} for order in ORDERS})
    columns: dict[str, int] = field(default_factory=dict)


def class_images(data: Dataset, per_class: int) -> dict[int, torch.Tensor]:
    """Return label -> indices (int64) of up to `per_class` training images of that class, in a random order.

    The order comes from the global generator.
    """
    data.load()
    order = data.scoring_subset(data.train_size)
    places = order.sort().values  # the available images, in the order of `train_labels`
    labels = torch.full((int(places[-1]) + 1,), -1).scatter(0, places, data.train_labels)[order]
    return {c: order[labels == c][:per_class] for c in range(data.num_classes)}


def class_saliencies(
    model: nn.Module, layers: Mapping[str, Prunable], data: Dataset, images: torch.Tensor, batch_size: int
) -> dict[str, dict[str, torch.Tensor]]:
    """Return order -> layer -> saliencies of the weight's shape for the training images `images`.

    The model does not change.
    """
    weights = {name: (p.weight * p.mask).detach() for name, p in layers.items()}
    sums = {order: {name: torch.zeros_like(w) for name, w in weights.items()} for order in ORDERS}
    batches = data.subset_batches(images, batch_size)
    for found in gradients_by_batch(model, layers, batches):
        for name, g in found.items():
            sums["first"][name] += g.abs() / len(batches)
            sums["second"][name] += (g * weights[name]).square() / len(batches)
    return sums


def measure(
    model: nn.Module, layers: Mapping[str, Prunable], data: Dataset, per_class: int, batch_size: int
) -> Saliencies:
    """Measure the saliencies of every class that has training images."""
    kept = {name: p.mask.reshape(-1) > 0 for name, p in layers.items() if bool(p.mask.any())}
    counts = {name: int(on.sum()) for name, on in kept.items()}
    total = sum(counts.values())
    found = Saliencies(columns={name: max(LEAST, round(COLUMNS * count / total)) for name, count in counts.items()})
    for label, images in class_images(data, per_class).items():
        if not len(images):
            continue
        for order, by_layer in class_saliencies(model, layers, data, images, batch_size).items():
            strips = []
            for name, on in kept.items():
                values = by_layer[name].reshape(-1)[on].double()
                _spread(found, order, name, values).add(values, label)
                mean, std = torch.stack([values.mean(), values.std(correction=0)]).tolist()
                row = {"class": label, "layer": name, "order": order, "mean": mean, "std": std}
                found.rows.append(row | {"images": len(images)})
                strips.append(nn.functional.adaptive_avg_pool1d(values[None], found.columns[name])[0])
            found.maps[order][label] = torch.cat(strips).cpu()
    return found


def _spread(found: Saliencies, order: str, name: str, like: torch.Tensor) -> Spread:
    key = (order, name)
    if key not in found.spreads:
        infinite = torch.full_like(like, math.inf)
        found.spreads[key] = Spread(torch.zeros_like(like), -infinite, infinite, torch.full_like(like, -1).long())
    return found.spreads[key]


def class_table(found: Saliencies) -> pd.DataFrame:
    """Return a row for each class, layer and order: class, layer, order, mean, std (population), images."""
    return pd.DataFrame(found.rows)


def layer_table(found: Saliencies, percentile: float) -> pd.DataFrame:
    """Return a row for each layer and order.

    Columns: layer, order, kept, mean, std (of the weights' means over classes), class_range (mean of largest minus smallest over
    classes), unfairness (deviation of the classes' means over their mean: 0 is fair), biased (weights whose range is among the
    largest 100 - `percentile` percent of all layers) and biased_class (the class that most of those serve).
    """
    classes = class_table(found)
    rows = []
    for order in ORDERS:
        spreads = {name: s for (o, name), s in found.spreads.items() if o == order}
        ranges = torch.cat([s.high - s.low for s in spreads.values()])
        place = min(math.ceil(percentile / 100 * len(ranges)), len(ranges) - 1) + 1
        cut = ranges.topk(len(ranges) - place + 1, sorted=False).values.amin() if len(ranges) else torch.tensor(0.0)
        for name, s in spreads.items():
            means = classes.query("layer == @name and order == @order")["mean"]
            average, biased = s.total / s.count, ((s.high - s.low) >= cut) & (s.high > s.low)
            served = torch.bincount(s.top[biased], minlength=1)
            rows.append(
                {"layer": name, "order": order, "kept": len(average), "mean": average.mean().item(),
                 "std": average.std(correction=0).item(), "class_range": (s.high - s.low).mean().item(),
                 "unfairness": means.std(ddof=0) / means.mean() if means.mean() else 0.0, "biased": int(biased.sum()),
                 "biased_class": int(served.argmax()) if bool(biased.any()) else None}
            )  # fmt: skip
    return pd.DataFrame(rows).astype({"biased_class": "Int64"})
