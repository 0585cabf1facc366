"""thop's count of the MACs of the dense network, beside that of `counting.py`, with the reason of every difference.

MACs here are multiplications by weights, whether a layer or a function of the model computes them. thop applies
a rule for the class of each module, which for a norm, an average or a softmax counts other arithmetic too. Masks change
neither count. thop runs on a copy without values, on torch's `meta` device, so that the network, its `state_dict` and the
random numbers do not change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from torch import nn

from Utils.base.text import one_line
from Utils.measure.counting import NORMS

COLUMN = "macs_thop"
PACKAGE = "ultralytics-thop"
POOLS = nn.modules.pooling._AvgPoolNd | nn.modules.pooling._AdaptiveAvgPoolNd
SOFTMAX = nn.Softmax | nn.LogSoftmax | nn.Softmin | nn.Softmax2d
# Class of a module -> the reason why thop counts more for it.
REASONS: tuple[tuple[Any, str], ...] = (
    (NORMS, "thop counts the arithmetic of a norm, 2 for each number, 4 with scale and shift"),
    (POOLS, "thop counts the additions and divisions of an average"),
    (SOFTMAX, "thop counts the exponentials, additions and divisions of a softmax"),
    (nn.MultiheadAttention, "thop counts attention's products and softmax beside the projections"),
)
SHARED = "the weight is shared: here all its uses count in the first layer, in thop each in its own"
UNKNOWN = "thop has no rule for this class, or a function uses the weight instead of the layer"
OTHER = "counted here are multiplications by weights alone, a transposed convolution's at its input positions"
FUNCTIONS = "thop counts products that functions compute outside of the layers that it has rules for"


@dataclass(frozen=True)
class ThopCount:
    """thop's count for one image.

    Attributes:
        total: all operations.
        modules: those of each module, without those of the modules inside it, by its name.
        functions: those that belong to no module.
    """

    total: int
    modules: Mapping[str, int]
    functions: int


def count_by_thop(model: nn.Module, input_shape: tuple[int, ...]) -> ThopCount:
    """Count a copy of `model` for one image of `input_shape` = (channels, height, width); `model` does not change.

    Raises:
        Exception: thop is not installed, or it cannot run this network; the class is that of the cause.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            total, tree, model = _profile(_without_values(model), torch.zeros(1, *input_shape, device="meta"))
        except Exception:  # a network that needs values; a wrong shape fails again here
            total, tree, model = _profile(copy.deepcopy(model).cpu(), torch.zeros(1, *input_shape))
    modules = dict(_own(model, *tree, "", set()))
    return ThopCount(total, modules, total - sum(modules.values()))


def _profile(model: nn.Module, image: torch.Tensor) -> tuple[int, tuple[float, Mapping[str, Any]], nn.Module]:
    """Let thop count `model`; return all operations, those of modules as (sum, tree of the children), and `model`."""
    import thop

    # In a container, because thop's tree leaves out the module at its root.
    total, _, tree = thop.profile(nn.Sequential(model), (image,), verbose=False, ret_layer_info=True)
    everything, _, inside = tree["0"]
    return round(total), (everything, inside), model


def _without_values(model: nn.Module) -> nn.Module:
    """Copy `model` with parameters and buffers on the `meta` device, so that the copy takes no memory."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = torch.empty_like(tensor, device="meta")
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(model, memo)


def _own(
    module: nn.Module, everything: float, inside: Mapping[str, Any], name: str, seen: set[nn.Module]
) -> Iterator[tuple[str, int]]:
    """Yield (name, operations) of `module` and of every module inside it, each without those of the modules inside.

    `everything` is the sum of a module with all inside it, `inside` the tree of its children. A module with several names has
    its operations under the first one.
    """
    for own, child in module.named_children():
        total, _, children = inside.get(own, (0.0, 0.0, {}))
        if child not in seen:
            yield from _own(child, total, children, f"{name}.{own}" if name else own, seen)
            seen.add(child)
            everything -= total
    yield name, round(everything)


def thop_count(model: nn.Module, input_shape: tuple[int, ...]) -> ThopCount | str:
    """Return the result of `count_by_thop`, or its error in words: a failed comparison must not end the run of a network."""
    try:
        return count_by_thop(model, input_shape)
    except Exception as error:
        return _in_words(error)


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {one_line(str(error))}"


def with_thop(table: pd.DataFrame, count: ThopCount | str) -> pd.DataFrame:
    """Add the column `macs_thop` to a compression table, after `kept_macs`, from a count by `thop_count`.

    The operations of a module stand in the row of its first parameter; its other rows are 0. Modules without parameters have no
    row. The column is empty where thop cannot count the network.
    """
    values: list[Any] = [float("nan")] * len(table)
    if isinstance(count, ThopCount):
        left = dict(count.modules)
        values = [left.pop(name, 0) for name in table["module"]]
    table.insert(table.columns.get_loc("kept_macs") + 1, COLUMN, values)
    return table


def thop_summary(table: pd.DataFrame, model: nn.Module, count: ThopCount | str) -> dict[str, Any]:
    """Return the key `thop` of a run's summary: thop's version and sum, and the modules in which the counts differ.

    Each difference has the module's name (empty for functions), its class, both counts and the reason. If thop cannot count the
    network, the error stands in place of sum and differences.
    """
    if isinstance(count, str):
        return {"thop": {"error": count}}
    try:
        return {"thop": {"version": version(PACKAGE), "macs": count.total, "differences": differences(table, model, count)}}
    except Exception as error:  # as in `thop_count`
        return {"thop": {"error": _in_words(error)}}


def differences(table: pd.DataFrame, model: nn.Module, count: ThopCount) -> list[dict[str, Any]]:
    """List the modules in which `count` differs from the column `macs` of a compression table, each with the reason."""
    modules = dict(model.named_modules())
    ours: dict[str, int] = {}
    for name, macs in zip(table["module"], table["macs"], strict=True):
        parent = name.rpartition(".")[0]  # thop counts the output projection of attention in the attention module
        owner = parent if isinstance(modules.get(parent), nn.MultiheadAttention) else name
        ours[owner] = ours.get(owner, 0) + int(macs)
    tensors = [id(p) for m in modules.values() for p in m._parameters.values() if p is not None]
    rows = []
    for name, module in modules.items():
        here, there = ours.get(name, 0), count.modules.get(name, 0)
        if here != there:
            shared = any(tensors.count(id(p)) > 1 for p in module.parameters(recurse=False))
            reason = _reason(module, here, there, shared)
            rows.append({"module": name, "class": type(module).__name__, "macs": here, COLUMN: there, "reason": reason})
    if count.functions:
        rows.append({"module": "", "class": "functions", "macs": 0, COLUMN: count.functions, "reason": FUNCTIONS})
    return rows


def _reason(module: nn.Module, here: int, there: int, shared: bool) -> str:
    if shared:
        return SHARED
    known = next((reason for kind, reason in REASONS if isinstance(module, kind)), None)
    return UNKNOWN if there < here else known or OTHER
