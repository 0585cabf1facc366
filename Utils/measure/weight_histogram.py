"""Histograms of the weights that a pruned network kept, from its `state_dict` alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from Utils.base.errors import Refused

MASK = "_mask"
LAYERS = (2, 4)  # dimensions of the weights of linear layers and convolutions, which count as layers even without a mask


@dataclass(frozen=True)
class Bins:
    """Numbers of weights in intervals: `counts[i]` lie in [`edges[i]`, `edges[i + 1]`).

    The last interval includes its end.
    """

    edges: np.ndarray
    counts: np.ndarray


@dataclass(frozen=True)
class Layer:
    """One prunable parameter, and the distribution of the weights that it kept.

    Attributes:
        not_finite: the number of kept weights that are NaN or infinite; moments and bins leave them out.
        mean, std: of the kept weights (population standard deviation); NaN if there are none.
        own: bins over the range of this layer.
        common: twice as many bins over the range of the layer with the widest one.
    """

    module: str
    param: str
    shape: tuple[int, ...]
    size: int
    kept: int
    not_finite: int
    mean: float
    std: float
    own: Bins
    common: Bins

    @property
    def full(self) -> str:
        """The parameter's name in the `state_dict`."""
        return f"{self.module}.{self.param}" if self.module else self.param

    @property
    def name(self) -> str:
        """The common name: that of the module for its weight, the full name for other parameters."""
        return self.module if self.module and self.param == "weight" else self.full

    @property
    def density(self) -> float:
        """The kept weights over all weights."""
        return self.kept / self.size


def measure(tensors: Mapping[str, torch.Tensor], bins: int, file: Path) -> list[Layer]:
    """Measure the layers of a `state_dict`, in its order: all parameters with a mask, and the weights of other layers.

    Raises:
        Refused: there are no masks, or a tensor does not fit; the message names `file`.
    """
    kept = {name: _kept(name, tensors, file) for name in _parameters(tensors)}
    if not any(name + MASK in tensors for name in kept):
        raise Refused(f"{file} holds no masks: it is no network that this program pruned")
    finite = {name: values[np.isfinite(values)] for name, values in kept.items()}
    widest = max(map(_largest, finite.values()))
    layers = []
    for name, values in finite.items():
        module, _, param = name.rpartition(".")
        shape, largest = tuple(tensors[name].shape), _largest(values)
        mean, std = _moments(values)
        own, common = count(values, edges(largest, bins)), count(values, edges(widest, 2 * bins))
        lost = len(kept[name]) - len(values)
        layers.append(Layer(module, param, shape, math.prod(shape), len(kept[name]), lost, mean, std, own, common))
    return layers


def _parameters(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Name the parameters to show; a layer that shares the tensor of a masked one is shown as that one."""
    masked = {tensor.data_ptr() for name, tensor in tensors.items() if name + MASK in tensors}
    return [
        name
        for name, tensor in tensors.items()
        if tensor.numel()
        and (
            name + MASK in tensors
            or (name.rpartition(".")[2] == "weight" and tensor.ndim in LAYERS and tensor.data_ptr() not in masked)
        )
    ]


def _kept(name: str, tensors: Mapping[str, torch.Tensor], file: Path) -> np.ndarray:
    """Return the weights that the mask leaves, as a vector of single precision; numbers beyond its range become infinite."""
    weight, mask = tensors[name], tensors.get(name + MASK)
    if not weight.is_floating_point():
        raise Refused(f"{file}: {name} holds no real numbers but {weight.dtype}")
    if mask is not None and mask.shape != weight.shape:
        raise Refused(f"{file}: {name}{MASK} has shape {list(mask.shape)}, {name} has {list(weight.shape)}")
    return (weight.flatten() if mask is None else weight[mask != 0]).float().numpy()


def _largest(values: np.ndarray) -> float:
    return max(float(values.max()), -float(values.min())) if len(values) else 0.0


def _moments(values: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return math.nan, math.nan
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def edges(largest: float, bins: int) -> np.ndarray:
    """Return the ends of `bins` intervals of one width from -`largest` to `largest`; from -1 to 1 if that is zero."""
    return np.arange(-bins, bins + 1, 2) / bins * (largest or 1.0)


def count(values: np.ndarray, ends: np.ndarray) -> Bins:
    """Count the `values` in each interval between the `ends`, which enclose all values."""
    return Bins(ends, np.histogram(values, ends)[0])


def select(layers: Sequence[Layer], name: str) -> list[Layer]:
    """Return the layers that `name` means: a module with all below it, or a parameter by its full name."""
    return [layer for layer in layers if layer.full == name or layer.full.startswith(f"{name}.")]


def bin_table(layers: Iterable[Layer], common: bool = False) -> pd.DataFrame:
    """Return a row per layer and bin; the counts of a layer sum to `kept`.

    Kept weights that are not finite have a row without bounds, and so has a layer that kept nothing. With `common`, the bins are
    those that all layers share. Columns: module, param, size, kept, density, bin_left, bin_right, count.
    """
    rows: list[dict[str, Any]] = []
    for layer in layers:
        head = {"module": layer.module, "param": layer.param, "size": layer.size, "kept": layer.kept, "density": layer.density}
        bins = layer.common if common else layer.own
        if layer.kept > layer.not_finite:
            rows += [
                head | {"bin_left": left, "bin_right": right, "count": number}
                for left, right, number in zip(bins.edges, bins.edges[1:], bins.counts, strict=False)
            ]
        if layer.not_finite or not layer.kept:
            rows.append(head | {"bin_left": math.nan, "bin_right": math.nan, "count": layer.not_finite})
    return pd.DataFrame(rows)


def layer_table(layers: Iterable[Layer]) -> pd.DataFrame:
    """Return a row per layer, for printing."""
    return pd.DataFrame(
        [
            {"module": layer.module, "param": layer.param, "shape": "x".join(map(str, layer.shape)), "size": layer.size,
             "kept": layer.kept, "density": layer.density, "sparsity": 1 - layer.density, "mean": layer.mean, "std": layer.std}
            for layer in layers
        ]
    )  # fmt: skip
