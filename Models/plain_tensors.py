"""Tensors of a file as the network takes them: dense, not quantised, and of at least single precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from Utils.base.errors import Refused

LARGEST = 1 << 31  # entries of a sparse tensor that is made dense
PACKED = "_packed_params"  # the names of weights in a network that torch has quantised


def as_tensor(value: Any) -> torch.Tensor | None:
    """Return a tensor, or an array of NumPy as one, without gradient; None for anything else."""
    if isinstance(value, torch.Tensor):
        return value.detach()
    return torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.isnative else None


def is_mask(tensor: torch.Tensor) -> bool:
    """Tell whether all entries are 0 or 1."""
    return tensor.dtype == torch.bool or bool(((tensor == 0) | (tensor == 1)).all())


def made_plain(tensor: torch.Tensor, key: str, source: object) -> torch.Tensor:
    """Return the tensor `key` of a file dense, and half precision as float32.

    Raises:
        Refused: it is quantised, has no values, or would be too large; the line begins with `source`.
    """
    kind = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_quantized:
        raise Refused(f"{source} holds quantised weights ({key} is {kind}): save the network before its quantisation")
    if tensor.is_meta:
        raise Refused(f"{source}: {key} has a shape and no values (device meta)")
    if tensor.is_nested:
        raise Refused(f"{source}: {key} is a nested tensor, which no layer here takes")
    if tensor.layout != torch.strided:
        if tensor.numel() > LARGEST:
            raise Refused(f"{source}: {key} is sparse, and made dense it would have {tensor.numel()} entries")
        tensor = tensor.to_dense()
    if tensor.dtype in (torch.int8, torch.uint8) and key.endswith("weight") and not is_mask(tensor):
        raise Refused(f"{source} holds quantised weights ({key} is {kind}): save the network before its quantisation")
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
