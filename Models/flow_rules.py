"""Rules of flow for single operations: products, norms, attention (see `Models/flow.py`).

A rule returns what those in `Models/flow_kinds.py` do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F

from Models.companions import Companions, factor, open_to, product, reached, threshold, total_of
from Models.flow_kinds import along, any_at_place
from Models.tape import Node, Step


def _times(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a product entry by entry: the image passes where the factor may be other than zero."""
    signals = [s for a in step.args[:2] if (s := companions.signal(a)) is not None]
    factors = [f for a in step.args[:2] if (f := companions.factor(a)) is not None]
    if len(signals) == 2:
        factors = _gated(companions, *step.args[:2])
        return reached(total_of(signals)) if factors is None else factors[0] * factors[1]
    if signals:
        return signals[0] * factors[0] if factors else signals[0]
    return factors[0] if len(factors) == 1 else factors[0] * factors[1]


def _gated(companions: Companions, a: Node, b: Node) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the factors of a product of which one is a gate: ones for the gate itself; None if none is, or both are."""
    one, two = companions.signal(a), companions.signal(b)
    if one is None or two is None or a.root.gate == b.root.gate:
        return None
    companions.gated = True
    if not companions.strict:
        return None
    return (open_to(one), two) if a.root.gate else (one, open_to(two))


def _divided(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a quotient: parameters below the line let everything through."""
    above, below = companions.factor(step.args[0]), companions.factor(step.args[1])
    if above is None or companions.signal(step.args[1]) is not None:
        return any_at_place(companions, step)
    return above if below is None else above * open_to(below)


def _matrices(companions: Companions, step: Step, a: Node, b: Node) -> torch.Tensor | None:
    """Rule for a product of matrices, or of batches of them."""
    one, two = companions.signal(a), companions.signal(b)
    if one is not None and two is not None:
        if (pair := _gated(companions, a, b)) is not None:
            return product(*pair)
        return reached(one.sum(-1, keepdim=True) + two.sum(-2, keepdim=True)).expand(step.results[0].shape)
    first = one if one is not None else companions.factor(a)
    second = two if two is not None else companions.factor(b)
    if first is None:
        return reached(second.sum(-2, keepdim=True)).expand(step.results[0].shape)
    if second is None:
        return reached(first.sum(-1, keepdim=True)).expand(step.results[0].shape)
    end = None
    if one is not None and b.root in companions.names and b.shape == (b.root.shape[::-1]):
        end = first.new_zeros(b.shape[-1], requires_grad=torch.is_grad_enabled())
        companions.ends.append((companions.names[b.root], end))
    return product(first, second, end)


def _matrix(companions: Companions, step: Step) -> torch.Tensor | None:
    return _matrices(companions, step, step.args[0], step.args[1])


def _added_matrix(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a product of matrices that is added to something."""
    found = _matrices(companions, step, step.args[1], step.args[2])
    added = companions.signal(step.args[0])
    if added is not None:
        return reached(found + added)
    made = companions.factor(step.args[0])
    if made is None or step.args[0].root in companions.names:
        return found
    return found + (made - made.detach()) * found.detach()


def _vector(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for a matrix times a vector."""
    if companions.signal(step.args[0]) is None or companions.signal(step.args[1]) is not None:
        return None
    vector = companions.factor(step.args[1])
    rows = companions.signal(step.args[0])
    return reached(rows.sum(-1)) if vector is None else product(rows, vector[:, None])[:, 0]


def _trilinear(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for bilinear layers: the image passes in either argument where the weight may be other than zero."""
    signals, factors = [], []
    for node, places in zip(step.args[:3], step.args[3:6], strict=True):
        if (part := companions.of(node)) is not None:
            for place in sorted(places):
                part = part.unsqueeze(place)
            (signals if companions.is_signal(node) else factors).append(part)
    if not signals:
        return None
    found = reached(total_of(signals))
    for part in factors:
        found = found * part
    return reached(found.sum(step.args[6]))


def _convolution(companions: Companions, step: Step) -> torch.Tensor | None:
    """Rule for convolutions; a kernel connects two channels at all its taps if it may be other than zero at any of them."""
    x, weight, _, stride, padding, dilation, transposed, output_padding, groups = step.args
    reach, connected = companions.signal(x), companions.factor(weight)
    if reach is None or companions.signal(weight) is not None:
        return None
    if connected is None:
        connected = torch.ones((), device=x.device).expand(weight.shape)
    taps = range(2, len(weight.shape))
    if any(connected.stride(d) for d in taps):  # not the same at all taps
        connected = reached(connected.sum([*taps], keepdim=True)).expand(weight.shape)
    units = step.results[0].shape[1]
    end = reach.new_zeros(units, requires_grad=torch.is_grad_enabled())
    if weight.root in companions.names and weight.shape.numel() == weight.root.shape.numel():
        companions.ends.append((companions.names[weight.root], end))
    if transposed:
        shape = (stride, padding, dilation, True, output_padding, groups)
        total = torch.ops.aten.convolution(factor(reach), factor(connected.contiguous()), None, *shape)
        return threshold(total + end.view(-1, *[1] * len(taps)))
    matrix = connected[(..., *[0] * len(taps))]
    windows = _windows(reach, weight.shape[2:], stride, padding, dilation)
    if windows is None:
        return None
    places = windows.shape[2:]
    flat = windows.reshape(len(windows), groups, -1, prod(places))
    total = product(matrix.reshape(groups, units // groups, -1), flat, end.view(groups, -1, 1))
    return total.reshape(len(windows), units, *places)


def _windows(reach: torch.Tensor, size: Sequence[int], stride: Any, padding: Any, dilation: Any) -> torch.Tensor | None:
    """Tell for each channel and place of a convolution's output whether anything in its window is reached."""
    if all(n == 1 for n in size) and not any(padding):
        if all(n == 1 for n in stride):
            return reach
        steps = [*stride] * (reach.dim() - 2) if len(stride) == 1 else stride
        return reach[(..., *[slice(None, None, n) for n in steps])]
    pool: Callable[..., torch.Tensor] | None = {3: F.avg_pool1d, 4: F.avg_pool2d, 5: F.avg_pool3d}.get(reach.dim())
    if all(n == 1 for n in dilation) and all(2 * p <= n for p, n in zip(padding, size, strict=False)) and pool is not None:
        return reached(pool(reach, tuple(size), tuple(stride), tuple(padding)))
    channels = reach.shape[1]
    kernel = torch.ones(channels, 1, *size, device=reach.device)
    shape = (stride, padding, dilation, False, [0] * len(size), channels)
    return threshold(torch.ops.aten.convolution(factor(reach), kernel, None, *shape))


def _batch_norm(companions: Companions, step: Step) -> torch.Tensor:
    """Rule for batch norm: each number by itself, or with the statistics of this image each channel."""
    reach = companions.of(step.args[0])
    assert reach is not None
    if any(flag is True for flag in step.args[3:]):
        reach = reached(reach.sum([d for d in range(reach.dim()) if d != 1], keepdim=True)).expand(reach.shape)
    scale = companions.factor(step.args[1])
    return reach if scale is None else reach * scale.view(-1, *[1] * (reach.dim() - 2))


def _layer_norm(companions: Companions, step: Step) -> torch.Tensor:
    """Rule for layer norm and RMS norm: each number depends on all that are normalised with it."""
    reach = along(companions, step.args[0], [*range(-len(step.args[1]), 0)])
    scale = companions.factor(step.args[2]) if len(step.args) > 2 else companions.factor(step.kwargs.get("weight"))
    return reach if scale is None else reach * scale


def _group_norm(companions: Companions, step: Step) -> torch.Tensor:
    """Rule for group norm."""
    x, weight, _, count, _, _, groups = step.args[:7]
    reach, scale = companions.of(x), companions.factor(weight)
    assert reach is not None
    grouped = reach.reshape(count, groups, -1)
    found = reached(grouped.sum(2, keepdim=True)).expand(grouped.shape).reshape(x.shape)
    return found if scale is None else found * scale.view(-1, *[1] * (len(x.shape) - 2))


def _attention(companions: Companions, step: Step) -> list[torch.Tensor | None] | None:
    """Rule for attention: a result is an average of the values of its channel, over weights that queries and keys decide."""
    query, key, value = (companions.of(a) for a in step.args[:3])
    if any(part is None or part.dim() != 4 for part in (query, key, companions.signal(step.args[2]))):
        return None
    if query.shape[1] != value.shape[1]:  # fewer heads of keys and values
        return None
    weights = reached(query.sum(-1, keepdim=True) + key.sum((-1, -2), keepdim=True))
    values = reached(value.sum(-2, keepdim=True))
    companions.gated = True
    return [values * open_to(weights) if companions.strict else reached(values + weights)]


Rule = Callable[[Companions, Step], Any]
RULES: dict[str, Rule] = {
    "mul": _times, "div": _divided, "mm": _matrix, "bmm": _matrix, "addmm": _added_matrix, "baddbmm": _added_matrix,
    "mv": _vector, "_trilinear": _trilinear,
    "convolution": _convolution, "native_layer_norm": _layer_norm, "_fused_rms_norm": _layer_norm,
    "native_group_norm": _group_norm, **dict.fromkeys((
        "native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_native_batch_norm_legit", "_batch_norm_with_update",
        "_native_batch_norm_legit_no_training", "_batch_norm_no_update"), _batch_norm),
    **dict.fromkeys((
        "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_cudnn_attention", "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_fused_attention_overrideable"), _attention),
}  # fmt: skip
