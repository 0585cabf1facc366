"""Weights from a file into a network: our own checkpoints, Synaptic-Flow's, and any other plain `state_dict`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from Utils.base.errors import Refused
from Utils.base.tensor_files import read_tensor_file, unprefixed, unwrapped

SHOWN = 3


def load_weights(model: nn.Module, file: str | os.PathLike[str]) -> None:
    """Copy the tensors of `file` into `model`, in place; a file that is refused changes nothing.

    The file holds a `state_dict`, or a dictionary with one under a key such as `model`. A mask (`NAME_mask` beside
    `NAME`) of ones alone is dropped, any other is multiplied into `NAME`; masks that `model` itself has stay as they are.
    Reading the file runs no code from it.

    Raises:
        Refused: unreadable or unsafe file, missing or unexpected keys, other shapes; one line with the file's name.
    """
    copy_tensors(model, _unmasked(_read(file), file), f"--weights {file}")


def copy_tensors(model: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy `tensors`, which hold no masks, into `model`, in place; the masks of `model` do not change.

    Raises:
        Refused: missing or unexpected keys, or other shapes, in one line that begins with `source`. Then nothing changes.
    """
    own = model.state_dict()
    expected = {key: value for key, value in own.items() if not _is_mask(key, own)}
    # Files from before torch 0.4.1 lack the batch counters, which do nothing to the output.
    missing = [key for key in expected if key not in tensors and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in tensors if key not in expected]
    shapes = [
        f"{key} {list(tensors[key].shape)} instead of {list(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    faults = [
        f"{word} {_few(found)}" for word, found in (("lacks", missing), ("has unknown", unexpected), ("has", shapes)) if found
    ]
    if faults:
        raise Refused(f"{source} does not fit the model: it {'; it '.join(faults)}")
    model.load_state_dict(tensors, strict=False)


def _few(found: list[str]) -> str:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join(found[:SHOWN]) + more


def _is_mask(key: str, tensors: dict[str, torch.Tensor]) -> bool:
    return key.endswith("_mask") and key.removesuffix("_mask") in tensors


def _read(file: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    content = read_tensor_file(Path(file), f"--weights {file}")
    content = unwrapped(content)[0] if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not content:
        raise Refused(f"--weights {file} holds no state_dict but a {type(content).__name__} of no weights")
    other = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, torch.Tensor))]
    if other:
        raise Refused(f"--weights {file} holds no plain state_dict: {_few(other)} is not a tensor")
    return unprefixed(content)


def _unmasked(tensors: dict[str, torch.Tensor], file: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """Return the tensors without masks; a mask that is not all ones is multiplied into its tensor."""
    result = {key: value for key, value in tensors.items() if not _is_mask(key, tensors)}
    for key in tensors.keys() - result.keys():
        name, mask = key.removesuffix("_mask"), tensors[key]
        if mask.shape != tensors[name].shape:
            raise Refused(f"--weights {file}: {key} has shape {list(mask.shape)}, {name} has {list(tensors[name].shape)}")
        if not bool((mask == 1).all()):
            result[name] = tensors[name] * mask
    return result
