"""Weights from a file into a network: our own checkpoints, Synaptic-Flow's, and those of other programs."""

from __future__ import annotations

import os
from dataclasses import replace

import torch
from torch import nn

from Models.checkpoint_reader import Checkpoint, read_checkpoint
from Utils.base.errors import Refused
from Utils.base.text import few


def load_weights(model: nn.Module, file: str | os.PathLike[str], *, dense: bool = False, source: str = "") -> Checkpoint:
    """Copy the weights of `file` into `model`, in place; a file that is refused changes nothing.

    `read_checkpoint` says what the file may be. The weights are the effective ones, with pruned places zero; masks that `model`
    itself has stay as they are. With `dense` the file's masks are ignored, and stored values of pruned places are taken. Reading
    the file runs no code from it. `source` stands for the file in an error, by default the flag and the file.

    Returns:
        The content of the file, under the names of `model`; without masks if `dense`.

    Raises:
        Refused: unreadable or unsafe file, missing or unexpected keys, other shapes; one line with the file's name.
    """
    source = source or f"--weights {file}"
    found = read_checkpoint(file, source).named_as(model, source)
    if dense:
        found = replace(found, tensors=found.tensors | found.originals, masks={})
    try:
        copy_tensors(model, found.tensors, source)
    except Refused as error:  # what was skipped may be what it lacks
        raise Refused("; ".join([str(error), *found.notes])) from error
    return found


def copy_tensors(model: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy `tensors`, which hold no masks, into `model`, in place; the masks of `model` do not change.

    Raises:
        Refused: missing or unexpected keys, or other shapes, in one line that begins with `source`. Then nothing changes.
    """
    own = {key: value for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    expected = {key: value for key, value in own.items() if not _is_mask(key, own)}
    # Files from before torch 0.4.1 lack the batch counters, which do nothing to the output.
    tied = _tied(expected)
    missing = [key for key in expected if tensors.keys().isdisjoint(tied[key]) and not key.endswith(".num_batches_tracked")]
    unexpected = [key for key in tensors if key not in expected]
    shapes = [
        f"{key} {list(tensors[key].shape)} instead of {list(value.shape)}"
        for key, value in expected.items()
        if key in tensors and tensors[key].shape != value.shape
    ]
    faults = [
        f"{word} {few(found)}" for word, found in (("lacks", missing), ("has unknown", unexpected), ("has", shapes)) if found
    ]
    if faults:
        fitting = len(expected.keys() & tensors.keys())
        named = f" ({fitting} of its {len(tensors)} names fit)" if missing or unexpected else ""
        raise Refused(f"{source} does not fit the model: it {'; it '.join(faults)}{named}")
    for first, *others in ([name for name in names if name in tensors] or [""] for names in tied.values()):
        if other := next((name for name in others if not torch.equal(tensors[first], tensors[name])), ""):
            raise Refused(f"{source} does not fit the model, in which {first} and {other} are one tensor: it has two")
    model.load_state_dict(tensors, strict=False)


def _is_mask(key: str, tensors: dict[str, torch.Tensor]) -> bool:
    return key.endswith("_mask") and key.removesuffix("_mask") in tensors


def _tied(own: dict[str, torch.Tensor]) -> dict[str, list[str]]:
    """Return name -> the names of all tensors of a network that are the same entries in memory, itself included."""
    groups: dict[tuple[object, ...], list[str]] = {}
    for key, value in own.items():
        place = (value.untyped_storage().data_ptr(), value.storage_offset(), value.shape) if value.numel() else (key,)
        groups.setdefault(place, []).append(key)
    return {key: names for names in groups.values() for key in names}
