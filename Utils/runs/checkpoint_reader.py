"""The reader of checkpoint files of this and other programs: weights, masks, stored values, and other content.

It understands two forms of masks. Ours is `NAME` with a buffer `NAME_mask`. That of `torch.nn.utils.prune` is a parameter
`NAME_orig` with a buffer `NAME_mask` and no `NAME`; its effective weight is the product. Reading a file runs no code from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from Utils.base.errors import Refused
from Utils.base.tensor_files import read_tensor_file, unprefixed, unwrapped
from Utils.runs.run_files import check_file

OURS, TORCH, PLAIN, NONE = "weights with masks", "torch.nn.utils.prune", "weights without masks", "no weights"


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a checkpoint.

    Attributes:
        file: the file that it was read from.
        form: `OURS`, `TORCH`, `PLAIN` or `NONE`.
        tensors: name -> effective weight, and every other parameter and buffer except masks.
        masks: name of the masked tensor -> its mask, float zeros and ones.
        originals: name -> the stored value, pruned places included; only in the form `TORCH`.
        beside: all content that is not a tensor of the network, such as an epoch.
    """

    file: Path
    form: str
    tensors: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]
    originals: dict[str, torch.Tensor]
    beside: dict[str, Any]


def read_checkpoint(file: str | Path) -> Checkpoint:
    """Read the checkpoint in `file`, onto the CPU.

    Raises:
        Refused: it cannot be read without running code from it, holds no dictionary, or a mask does not fit its weight.
    """
    check_file(Path(file))
    content = read_tensor_file(Path(file))
    if not isinstance(content, Mapping):
        raise Refused(f"{file} holds no checkpoint but a {type(content).__name__}")
    network, beside = unwrapped(content)
    tensors = {k: v for k, v in network.items() if isinstance(k, str) and isinstance(v, torch.Tensor)}
    beside |= {str(k): v for k, v in network.items() if not (isinstance(k, str) and isinstance(v, torch.Tensor))}
    return _take_apart(Path(file), unprefixed(tensors), beside)


def _take_apart(file: Path, tensors: dict[str, torch.Tensor], beside: dict[str, Any]) -> Checkpoint:
    masks, originals, rest = {}, {}, {}
    for key, value in tensors.items():
        name = key.removesuffix("_mask")
        if key.endswith("_mask") and (name in tensors or f"{name}_orig" in tensors):
            masks[name] = value.float()
        elif key.endswith("_mask") and value.dtype == torch.uint8:
            masks[name] = value.float()  # a file that holds only masks
        elif key.endswith("_orig") and f"{key.removesuffix('_orig')}_mask" in tensors:
            originals[key.removesuffix("_orig")] = value
        else:
            rest[key] = value
    for name, mask in masks.items():
        weight = originals.get(name, rest.get(name))
        if weight is None:
            continue
        if weight.shape != mask.shape:
            raise Refused(f"{file}: {name}_mask has shape {list(mask.shape)}, {name} has {list(weight.shape)}")
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise Refused(f"{file}: {name}_mask holds other values than 0 and 1")
        rest[name] = weight * mask
    form = TORCH if originals else OURS if masks else PLAIN if any(t.is_floating_point() for t in rest.values()) else NONE
    return Checkpoint(file, form, rest, masks, originals, beside)


def summarised(value: Any) -> str:
    """Describe `value` in a few words."""
    if isinstance(value, torch.Tensor):
        return f"tensor {'x'.join(map(str, value.shape)) or 'scalar'} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        numbers = [v for v in value.values() if isinstance(v, int | float) and not isinstance(v, bool)]
        total = f", sum {sum(numbers):g}" if numbers and len(numbers) == len(value) else ""
        return f"{len(value)} entries ({', '.join(map(str, list(value)[:4]))}{', ...' if len(value) > 4 else ''}){total}"
    if isinstance(value, list | tuple):
        return f"{len(value)} entries"
    text = f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
