"""Shapes of the results of products and convolutions, from the shapes of their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def _convolved(x: torch.Tensor, weight: torch.Tensor, _bias: Any, stride: Any, padding: Any, dilation: Any,
               transposed: bool, output_padding: Any, groups: int) -> list[int]:  # fmt: skip
    """Return the shape of what a convolution returns."""
    sizes = []
    for d, (n, k) in enumerate(zip(x.shape[2:], weight.shape[2:], strict=True)):
        s, p, w = (v[d] if len(v) > d else v[0] for v in (stride, padding, dilation))
        reach = w * (k - 1) + 1
        if transposed:
            sizes.append((n - 1) * s - 2 * p + reach + (output_padding[d] if len(output_padding) > d else output_padding[0]))
        else:
            sizes.append((n + 2 * p - reach) // s + 1)
    if x.shape[1] != (weight.shape[0] if transposed else weight.shape[1] * groups) or min(sizes, default=1) < 1:
        raise RuntimeError(f"a convolution with weights {[*weight.shape]} does not fit maps {[*x.shape]}")
    return [x.shape[0], weight.shape[1] * groups if transposed else weight.shape[0], *sizes]


def _multiplied(a: torch.Tensor, b: torch.Tensor) -> list[int]:
    """Return the shape of a product of two matrices, or of batches of them."""
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(f"matrices {[*a.shape]} and {[*b.shape]} cannot be multiplied")
    return [*a.shape[:-1], b.shape[-1]]


# Operations that a tape does not compute -> the shapes of their results.
RESULT_SHAPES: dict[str, Callable[..., list[int]]] = {
    "convolution": _convolved, "mm": _multiplied, "bmm": _multiplied, "addmm": lambda _c, a, b, *_: _multiplied(a, b),
    "baddbmm": lambda _c, a, b, *_: _multiplied(a, b),
}  # fmt: skip
