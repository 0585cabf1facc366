"""The size of a pruned network: parameters, FLOPs and scores per tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from Models.effective import find_paths
from Models.layers import Identity2d
from Models.masking import Prunable
from Models.shapes import outputs_for_one_image

EFFECTIVE = ("effective", "effective_density", "effective_flops", "effective_macs", "units", "live_units")
SUMS = (("params", "effective"), ("flops", "effective_flops"), ("macs", "effective_macs"))
MOMENTS = ("score_mean", "score_var", "score_sum", "score_abs_mean", "score_abs_var", "score_abs_sum")
NORMS = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d


def uses_per_entry(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Count the uses of each entry of a parameter for one image; the FLOPs of a parameter are this times its size.

    The count is Synaptic-Flow's: multiply-adds, one per weight and output position. A bias, a BatchNorm scale or shift and an
    `Identity2d` multiplier count one per position too. Grouped convolutions count only the weights they have, and a shared weight
    counts for every layer that uses it. Parameters that other modules or functions use count nothing.

    Returns:
        Full parameter name, as in `named_parameters()`, -> positions; the model does not change.
    """
    names = dict(model.named_parameters())
    aliases = {n: n for n in names}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        if name not in names:
            aliases[name] = next(n for n, t in names.items() if t is tensor)
    uses: dict[str, int] = {}
    for name, module, shape in outputs_for_one_image(model, input_shape):
        own = {p: f"{name}.{p}" if name else p for p, _ in module.named_parameters(recurse=False)}
        if isinstance(module, nn.MultiheadAttention):  # it calls none of its modules
            own |= {f"out_proj.{p}": f"{name}.out_proj.{p}" for p in ("weight", "bias")}
        for full in own.values():
            if full in aliases:
                uses[aliases[full]] = uses.get(aliases[full], 0) + math.prod(shape) // _width(module, shape)
    return uses


def multiply_adds(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Count the MACs of all weights that are multiplied for one image (see `_is_multiplied`), as dense arithmetic."""
    uses = uses_per_entry(model, input_shape)
    weights = {id(p) for m in model.modules() for name, p in m.named_parameters(recurse=False) if _is_multiplied(m, name)}
    return sum(p.numel() * uses.get(name, 0) for name, p in model.named_parameters() if id(p) in weights)


def _is_multiplied(module: nn.Module, param: str) -> bool:
    """Tell whether MACs count a parameter: a weight of a convolution, a linear layer, or attention's projections."""
    if isinstance(module, nn.MultiheadAttention):
        return param.endswith("proj_weight")
    return param == "weight" and isinstance(module, nn.Conv2d | nn.Linear)


def _width(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the number of outputs of `module` at one position; more than all of them for a module that is not counted."""
    if isinstance(module, nn.Linear):
        return module.out_features
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.out_channels
    if isinstance(module, nn.MultiheadAttention):
        return module.embed_dim
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
    `with_effective`), and `MOMENTS` (with the population variance), which are empty for a tensor without scores.
    """
    scored = {p.name: (p, s) for p, s in zip(prunables, scores, strict=True)}
    uses = uses_per_entry(model, input_shape)
    rows: list[dict[str, Any]] = []
    for full, tensor in model.named_parameters():
        module_name, _, param = full.rpartition(".")
        module = model.get_submodule(module_name)
        size = kept = tensor.numel()
        moments: tuple[float, ...] = (float("nan"),) * len(MOMENTS)
        if full in scored:
            prunable, score = scored[full]
            kept = int(torch.count_nonzero(prunable.mask))
            moments = _moments(score)
        used = uses.get(full, 0)
        multiplies = used if _is_multiplied(module, param) else 0
        shape = "x".join(str(n) for n in tensor.shape)
        rows.append(
            {"module": module_name, "param": param, "shape": shape, "size": size, "kept": kept, "density": kept / size,
             "flops": size * used, "kept_flops": kept * used, "macs": size * multiplies, "kept_macs": kept * multiplies,
             "prunable": full in scored}
            | dict(zip(MOMENTS, moments, strict=True))
        )  # fmt: skip
    return with_effective(pd.DataFrame(rows), model, prunables, input_shape)


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
    layers = {
        f"{row.module}.{row.param}" if row.module else row.param: int(row.kept_by_position) for row in rows.itertuples()
    }
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
        row |= {"effective_flops": count * (flops // size), "effective_macs": count * (macs // size)}
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
    """Name the layers that kept none of their weights."""
    empty = table[table["prunable"] & (table["kept"] == 0) & (table["param"] == "weight")]
    return empty["module"].tolist()
