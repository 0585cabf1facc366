"""The size of a pruned network: parameters, FLOPs and scores per tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from Models.effective import find_paths
from Models.layers import CONVOLUTIONS, LAYERS, Identity2d, biases_of, weights_of
from Models.masking import Prunable
from Models.products import Products
from Models.shapes import outputs_for_one_image

EFFECTIVE = ("effective", "effective_density", "effective_flops", "effective_macs", "units", "live_units")
SUMS = (("params", "effective"), ("flops", "effective_flops"), ("macs", "effective_macs"))
LEFT_DENSE = "left_dense"
PARAMETRIZED = "parametrizations"  # torch's name for the module that holds the tensors from which a weight is computed
MOMENTS = ("score_mean", "score_var", "score_sum", "score_abs_mean", "score_abs_var", "score_abs_sum")
NORMS = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d


def count_uses(model: nn.Module, input_shape: tuple[int, ...]) -> tuple[dict[str, int], dict[str, int]]:
    """Count the multiply-adds of each parameter for one image as Synaptic-Flow does: one per use of an entry.

    A weight is used once per output position, that of a transposed convolution once per input position, that of a recurrent layer
    once per step, whether a layer multiplies by it or a function of the model (see `Models/products.py`). A bias, a scale or
    shift of a norm and an `Identity2d` multiplier count one per position too. Grouped convolutions count only the weights they
    have, and a shared weight counts for every layer that uses it.

    Returns:
        The FLOPs of each parameter that is used, by full name as in `named_parameters()`, and the MACs, which are those of the
        weights alone. The model does not change.
    """
    products = Products(model)
    calls = outputs_for_one_image(model, input_shape, products.watch)
    names = {id(tensor): name for name, tensor in model.named_parameters()}
    flops = dict(products.macs)
    for _, module, shape in calls:
        positions = math.prod(shape) // _width(module, shape)
        for param, tensor in module.named_parameters(recurse=False):
            full = names[id(tensor)]
            if full not in products.macs and (param == "bias" or not isinstance(module, LAYERS)):
                flops[full] = flops.get(full, 0) + positions * tensor.numel()
    for module in model.modules():
        own = module._parameters
        for bias, weight in biases_of(module).items():  # in recurrent layers, and where a function takes the layer's weight
            multiplier, added = own.get(weight), own[bias]
            if multiplier is not None and not flops.get(names[id(added)]):
                uses = flops.get(names[id(multiplier)], 0) // multiplier.numel()
                flops[names[id(added)]] = uses * added.numel()
    return flops, products.macs


def uses_per_entry(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Count the uses of each entry of a parameter for one image, by full name: its FLOPs divided by its size."""
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    return {name: count // sizes[name] for name, count in count_uses(model, input_shape)[0].items()}


def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Count the MACs of all weights that are multiplied for one image, as dense arithmetic."""
    return sum(count_uses(model, input_shape)[1].values())


def _width(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the number of outputs of `module` at one position; more than all of them for a module that is not counted."""
    if isinstance(module, nn.Linear | nn.Bilinear):
        return module.out_features
    if isinstance(module, CONVOLUTIONS):
        return module.out_channels
    if isinstance(module, nn.LayerNorm):
        return math.prod(module.normalized_shape)
    if isinstance(module, NORMS | Identity2d):
        return next(module.parameters(recurse=False)).numel()
    return math.prod(shape) + 1


def compression_table(
    model: nn.Module, prunables: Sequence[Prunable], scores: Sequence[torch.Tensor], input_shape: tuple[int, ...]
) -> pd.DataFrame:
    """Return one row per parameter tensor: size, kept weights, FLOPs, and the moments of its last scores.

    Columns: module, param, shape, size, kept, density, flops, kept_flops, macs, kept_macs, prunable, `EFFECTIVE` (see
    `with_effective`), and `MOMENTS` (with the population variance), which are empty for a tensor without scores. There is a
    column `LEFT_DENSE` too if some weights cannot be pruned: the share of such a tensor in all weights, empty for the others.
    """
    scored = {p.name: (p, s) for p, s in zip(prunables, scores, strict=True)}
    flops, macs = count_uses(model, input_shape)
    rows: list[dict[str, Any]] = []
    dense, weights = [], 0
    for full, tensor in model.named_parameters():
        module_name, _, param = full.rpartition(".")
        module = model.get_submodule(module_name)
        size = kept = tensor.numel()
        moments: tuple[float, ...] = (float("nan"),) * len(MOMENTS)
        if full in scored:
            prunable, score = scored[full]
            kept = int(torch.count_nonzero(prunable.mask))
            moments = _moments(score)
        works, multiplies = flops.get(full, 0), macs.get(full, 0)
        shape = "x".join(str(n) for n in tensor.shape)
        rows.append(
            {"module": module_name, "param": param, "shape": shape, "size": size, "kept": kept, "density": kept / size,
             "flops": works, "kept_flops": kept * works // size, "macs": multiplies, "kept_macs": kept * multiplies // size,
             "prunable": full in scored}
            | dict(zip(MOMENTS, moments, strict=True))
        )  # fmt: skip
        dense.append(size if multiplies and param not in weights_of(module) and full not in scored else 0)
        weights += size if multiplies or param in weights_of(module) else 0
    table = with_effective(pd.DataFrame(rows), model, prunables, input_shape)
    return table.assign(**{LEFT_DENSE: [size / weights if size else math.nan for size in dense]}) if any(dense) else table


def left_dense(table: pd.DataFrame) -> dict[str, float]:
    """Return the layers of a compression table whose weights cannot be pruned, each with its share of all weights.

    These weights are computed from other tensors in each forward pass, or belong to a function of the model. A weight that a
    module holds under a name of its own stands for itself.
    """
    shares: dict[str, float] = {}
    if LEFT_DENSE not in table:
        return shares
    for module, param, share in table.loc[table[LEFT_DENSE] > 0, ["module", "param", LEFT_DENSE]].itertuples(index=False):
        layer, parametrized, _ = f"{module}.".partition(f".{PARAMETRIZED}.")
        full = f"{module}.{param}" if module else param
        name = layer if parametrized else module if module and param.startswith("weight") else full
        shares[name] = shares.get(name, 0.0) + share
    return shares


def with_kept_by_position(table: pd.DataFrame, layers: Mapping[str, int], cause: str) -> pd.DataFrame:
    """Add the columns `kept_by_position`, a count for each tensor, and `zero_cause`, a text where the count is not zero.

    `layers` gives the counts by name of the tensor, where weights were kept although their scores were zero as those of others.
    """
    names = [f"{module}.{param}" if module else param for module, param in zip(table["module"], table["param"], strict=True)]
    counts = [layers.get(name, 0) for name in names]
    return table.assign(kept_by_position=counts, zero_cause=[cause if count else "" for count in counts])


def kept_by_position(table: pd.DataFrame) -> dict[str, Any]:
    """Return the keys of a summary on the weights of a compression table that were kept by position alone."""
    if "kept_by_position" not in table:
        return {"kept_by_position": 0}
    rows = table[table["kept_by_position"] > 0]
    layers = {f"{row.module}.{row.param}" if row.module else row.param: int(row.kept_by_position) for row in rows.itertuples()}
    return {"kept_by_position": sum(layers.values()), "zero_scores": {"layers": layers, "cause": str(rows["zero_cause"].iloc[0])}}


def with_effective(
    table: pd.DataFrame, model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]
) -> pd.DataFrame:
    """Add the columns on live units to a compression table, for the present masks (see `Models/effective.py`).

    An entry is effective if it touches only live units. Columns: `effective` entries, `effective_density` of the tensor, empty if
    the forward pass in evaluation does not use it, `effective_flops`, `effective_macs`; for the weight of a convolution or linear
    layer also its `units` and `live_units`.
    """
    rows: list[dict[str, Any]] = []
    paths = find_paths(model, prunables, input_shape)
    for module, param, size, flops, macs in table[["module", "param", "size", "flops", "macs"]].itertuples(index=False):
        full = f"{module}.{param}" if module else param
        entries = paths.live[full]
        count = int(entries.sum())
        row = {"effective": count, "effective_density": float("nan") if full in paths.unused else count / size}
        row |= {"effective_flops": count * flops // size, "effective_macs": count * macs // size}
        if param == "weight" and isinstance(model.get_submodule(module), nn.Conv2d | nn.Linear):
            row |= {"units": len(entries), "live_units": int(entries.flatten(1).any(1).sum())}
        rows.append(row)
    found = pd.DataFrame(rows, columns=EFFECTIVE, index=table.index).astype({"units": "Int64", "live_units": "Int64"})
    return table.drop(columns=[c for c in EFFECTIVE if c in table]).join(found)


def uncounted(table: pd.DataFrame) -> list[str]:
    """Name the layers whose weights are prunable and used, but whose FLOPs could not be counted."""
    return table.loc[table["prunable"] & (table["flops"] == 0) & table["effective_density"].notna(), "module"].tolist()


def unused(table: pd.DataFrame) -> dict[str, int]:
    """Count the prunable weights of each layer that the forward pass in evaluation does not use."""
    rows = table[table["prunable"] & table["effective_density"].isna()]
    return rows.groupby("module", sort=False)["size"].sum().to_dict()


def _moments(score: torch.Tensor) -> tuple[float, ...]:
    s = score.double()
    a = s.abs()
    values = torch.stack([f for t in (s, a) for f in (t.mean(), t.var(correction=0), t.sum())])
    return tuple(values.tolist())


def totals(table: pd.DataFrame) -> dict[str, int]:
    """Sum a compression table exactly: parameters, FLOPs and MACs, kept and in total.

    MACs are those of multiplied weights; `*_effective` are the sums over live units.
    """
    sums = {
        "params_kept": int(table["kept"].sum()),
        "params_total": int(table["size"].sum()),
        "flops_kept": int(table["kept_flops"].sum()),
        "flops_total": int(table["flops"].sum()),
        "macs_kept": int(table["kept_macs"].sum()),
        "macs_total": int(table["macs"].sum()),
    }
    return sums | {f"{words[0]}_effective": int(table[words[1]].sum()) for words in SUMS}


def effective_density(table: pd.DataFrame) -> float:
    """Return the share of effective weights among the prunable weights that the forward pass in evaluation uses."""
    used = table[table["prunable"] & table["effective_density"].notna()]
    return int(used["effective"].sum()) / max(int(used["size"].sum()), 1)


def emptied_layers(table: pd.DataFrame) -> list[str]:
    """Name the layers that kept none of their weights; of a layer with several weights, each that kept none."""
    empty = table[table["prunable"] & (table["kept"] == 0) & table["param"].str.contains("weight")]
    names = zip(empty["module"], empty["param"], strict=True)
    return [module if param == "weight" else f"{module}.{param}" if module else param for module, param in names]
