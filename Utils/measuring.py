"""What is left of a network: parameters, FLOPs and scores per tensor, and whether a path from input to output remains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import nn

from Models.layers import Identity2d
from Models.masking import Prunable
from Models.shapes import eval_mode, outputs_for_one_image

MOMENTS = ("score_mean", "score_var", "score_sum", "score_abs_mean", "score_abs_var", "score_abs_sum")
NORMS = nn.modules.batchnorm._BatchNorm | nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm2d


def uses_per_entry(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """How often each entry of a parameter is used for one image: its FLOPs are this times its size.

    Synaptic-Flow's count: multiply-adds, one per weight and output position; a bias, a BatchNorm scale or shift and an
    `Identity2d` multiplier count one per position too. Grouped convolutions count only the weights they have. Parameters
    of other modules count nothing.

    Returns:
        Full parameter name -> positions; the model is left as it was.
    """
    uses: dict[str, int] = {}
    for name, module, shape in outputs_for_one_image(model, input_shape):
        if isinstance(module, nn.Conv2d | Identity2d) or (isinstance(module, NORMS) and len(shape) == 4):
            count = math.prod(shape[2:])
        elif isinstance(module, nn.Linear | NORMS):
            count = math.prod(shape[1:-1])
        else:
            continue
        for param, _ in module.named_parameters(recurse=False):
            full = f"{name}.{param}" if name else param
            uses[full] = uses.get(full, 0) + count
    return uses


def compression_table(
    model: nn.Module, prunables: Sequence[Prunable], scores: Sequence[torch.Tensor], input_shape: tuple[int, ...]
) -> pd.DataFrame:
    """One row per parameter tensor: size, kept weights, FLOPs, and the moments of its last scores (population variance).

    Columns: module, param, shape, size, kept, density, flops, kept_flops, macs, kept_macs, prunable, and `MOMENTS`, which
    are empty for a tensor without scores.
    """
    scored = {p.name: (p, s) for p, s in zip(prunables, scores, strict=True)}
    uses = uses_per_entry(model, input_shape)
    rows: list[dict[str, Any]] = []
    for module_name, module in model.named_modules():
        for param, tensor in module.named_parameters(recurse=False):
            full = f"{module_name}.{param}" if module_name else param
            size = kept = tensor.numel()
            moments: tuple[float, ...] = (float("nan"),) * 6
            if full in scored:
                prunable, score = scored[full]
                kept = int(torch.count_nonzero(prunable.mask))
                moments = _moments(score)
            used = uses.get(full, 0)
            multiplies = used if param == "weight" and isinstance(module, nn.Conv2d | nn.Linear) else 0
            shape = "x".join(str(n) for n in tensor.shape)
            rows.append(
                {"module": module_name, "param": param, "shape": shape, "size": size, "kept": kept, "density": kept / size,
                 "flops": size * used, "kept_flops": kept * used, "macs": size * multiplies, "kept_macs": kept * multiplies,
                 "prunable": full in scored}
                | dict(zip(MOMENTS, moments, strict=True))
            )  # fmt: skip
    return pd.DataFrame(rows)


def _moments(score: torch.Tensor) -> tuple[float, ...]:
    s = score.double()
    a = s.abs()
    values = torch.stack([f for t in (s, a) for f in (t.mean(), t.var(correction=0), t.sum())])
    return tuple(values.tolist())


def totals(table: pd.DataFrame) -> dict[str, int]:
    """Exact sums over a compression table: parameters and FLOPs, kept and in all; MACs are Conv and Linear weights alone."""
    return {
        "params_kept": int(table["kept"].sum()),
        "params_total": int(table["size"].sum()),
        "flops_kept": int(table["kept_flops"].sum()),
        "flops_total": int(table["flops"].sum()),
        "macs_kept": int(table["kept_macs"].sum()),
        "macs_total": int(table["macs"].sum()),
    }


def emptied_layers(table: pd.DataFrame) -> list[str]:
    """Names of the layers that kept none of their weights."""
    empty = table[table["prunable"] & (table["kept"] == 0) & (table["param"] == "weight")]
    return empty["module"].tolist()


def has_path(model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]) -> bool:
    """Whether any path of kept weights leads from the input to the output.

    A signal of ones is sent through the masks: prunable weights are replaced by their masks, biases and shifts by zeros,
    norms pass their input on, and each masked layer's output is cut back to 0 or 1, so that nothing over- or underflows.
    """
    masks = {p.name: p.mask.float() for p in prunables if p.param == "weight"}
    others = {n: torch.zeros_like(t) if n.endswith("bias") else torch.ones_like(t) for n, t in model.named_parameters()}
    handles = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            handles.append(module.register_forward_hook(lambda _m, _i, output: (output > 0).to(output.dtype)))
        elif isinstance(module, NORMS):
            handles.append(module.register_forward_hook(_pass_on))
    try:
        with eval_mode(model), torch.no_grad():
            image = torch.ones(1, *input_shape, device=prunables[0].mask.device)
            return bool((torch.func.functional_call(model, others | masks, (image,)) > 0).any())
    finally:
        for handle in handles:
            handle.remove()


def _pass_on(norm: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> torch.Tensor:
    """The input of a norm, without the channels whose scale is pruned."""
    mask = getattr(norm, "weight_mask", None)
    return inputs[0] if mask is None else inputs[0] * mask.view(-1, *[1] * (inputs[0].dim() - 2))
