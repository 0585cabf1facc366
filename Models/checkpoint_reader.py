"""The one reader of checkpoint files, of this and other programs: weights, masks, stored values, and other content.

It understands three forms of masks. Ours is `NAME` with a buffer `NAME_mask`. That of `torch.nn.utils.prune` is a parameter
`NAME_orig` with a buffer `NAME_mask` and no `NAME`; its effective weight is the product. A file may also hold masks alone.
Reading a file runs no code from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from Models.plain_tensors import PACKED, as_tensor, is_mask, made_plain
from Models.state_dicts import MASKS, bare_names, find_network, names_in
from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.base.stand_ins import StandIn, stand_ins_in
from Utils.base.tensor_files import read_tensor_file
from Utils.base.text import few, shown

OURS, TORCH, PLAIN, NONE = "weights with masks", "torch.nn.utils.prune", "weights without masks", "no weights"
ALONE = "masks without weights"
ADVICE = "save the weights with torch.save(model.state_dict(), FILE)"


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a checkpoint.

    Attributes:
        file: the file that it was read from.
        form: `OURS`, `TORCH`, `PLAIN`, `ALONE` or `NONE`.
        tensors: name -> effective weight, and every other parameter and buffer except masks; all dense and on the CPU.
        masks: name of the masked tensor -> its mask, float zeros and ones.
        originals: name -> the stored value, pruned places included; only in the form `TORCH`.
        beside: all content that is not a tensor of the network, such as an epoch.
        notes: lines for the user: choices that were made, and what was skipped without being run.
    """

    file: Path
    form: str
    tensors: dict[str, torch.Tensor]
    masks: dict[str, torch.Tensor]
    originals: dict[str, torch.Tensor]
    beside: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def named_as(self, model: nn.Module, source: str) -> Checkpoint:
        """Return the checkpoint under the names of `model`, whose own prefixes the file may lack.

        Raises:
            Refused: the file holds no weights; the line begins with `source`.
        """
        if self.form == NONE:
            inside = few([f"{key} ({type(value).__name__})" for key, value in self.beside.items()])
            raise Refused(f"{source} holds no weights (no state_dict)" + (f": only {inside}" if inside else ", it is empty"))
        if self.form == ALONE:
            raise Refused(f"{source} holds {ALONE} ({few(list(self.masks))}): name the file that has the weights")
        own = list(model.state_dict())
        parts = [_renamed(part, own) for part in (self.tensors, self.masks, self.originals)]
        return replace(self, tensors=parts[0], masks=parts[1], originals=parts[2])

    def with_masks_of_zeros(self, names: Iterable[str], beyond: float = 0.0) -> Checkpoint:
        """Take the zeros of a file without masks as pruned, as `torch.nn.utils.prune.remove` leaves them.

        This holds for those of `names` whose share of zeros lies above `beyond` and below 1; a note names them. A file that has
        masks stays as it is.
        """
        there = () if self.masks else [name for name in names if name in self.tensors]
        masks = {name: mask for name in there if (mask := mask_of_zeros(self.tensors[name], beyond)) is not None}
        if not masks:
            return self
        note = f"{self.file} has no masks: the zeros of {few(list(masks))} are taken as pruned"
        return replace(self, masks=masks, notes=[*self.notes, note])


def mask_of_zeros(tensor: torch.Tensor, beyond: float) -> torch.Tensor | None:
    """Return the mask of a tensor that was pruned without one, 0 where it is zero, as float32 of its shape.

    It counts as pruned if its share of zeros lies above `beyond` and below 1; otherwise the result is None.
    """
    mask = (tensor != 0).float()
    return mask if 0 < int(torch.count_nonzero(mask)) < mask.numel() * (1 - beyond) else None


def read_checkpoint(file: str | Path, name: object = None) -> Checkpoint:
    """Read the checkpoint in `file`, onto the CPU; `name` stands for the file in an error.

    Raises:
        Refused: it cannot be read without running code from it, holds no dictionary, a weight is quantised, or a mask does
            not fit its weight. The checksum of a run's own file is compared too.
    """
    file, name = Path(file), file if name is None else name
    check_file(file)
    content = read_tensor_file(file, name)
    if isinstance(content, list | tuple) and any(isinstance(part, Mapping) for part in content):
        content = {f"[{place}]": part for place, part in enumerate(content)}
    if not isinstance(content, Mapping):
        raise Refused(f"{name} holds no checkpoint (no state_dict) but a {_kind_of(content)}")
    network, beside, notes = find_network(content)
    tensors = {key: found for key, value in network.items() if isinstance(key, str) and (found := as_tensor(value)) is not None}
    beside |= {str(key): value for key, value in network.items() if key not in tensors}
    if packed := next((key for key in beside if PACKED in key), None):
        raise Refused(f"{name} holds quantised weights ({packed}): save the network before its quantisation")
    bare = bare_names(tensors)
    beside |= {key: value for key, value in tensors.items() if key not in bare}
    notes = [f"{file}: {note}" for note in notes]
    if skipped := few([f"{place} ({kind})" for place, kind in stand_ins_in(beside).items()]):
        if not bare:
            raise Refused(f"{name} holds no weights but {skipped}; nothing in it was run: {ADVICE}")
        notes.append(f"{file}: skipped {skipped}; nothing of it was run")
    plain = {short: made_plain(tensors[key], key, name) for key, short in bare.items()}
    return _take_apart(Checkpoint(file, PLAIN, plain | _masks_beside(beside, plain), {}, {}, beside, notes), name)


def _kind_of(content: Any) -> str:
    if isinstance(content, StandIn):
        return f"pickled object {content.name}, which is read by running its code: {ADVICE}"
    return type(content).__name__


def _masks_beside(beside: dict[str, Any], tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take the masks under a key of `MASKS` out of `beside`, as buffers of the network; only where each has its weight."""
    for key in MASKS:
        part = beside.get(key)
        found = {k: as_tensor(v) for k, v in part.items() if isinstance(k, str)} if isinstance(part, Mapping) else {}
        for names in ({name: name for name in found}, bare_names(found)):
            names = {name: short.removesuffix("_mask") for name, short in names.items()}
            if names and all(found[name] is not None and short in tensors for name, short in names.items()):
                del beside[key]
                return {f"{short}_mask": found[name].to_dense() for name, short in names.items()}
    return {}


def _take_apart(found: Checkpoint, name: object) -> Checkpoint:
    """Divide the tensors of a file into masks, stored values, and effective weights."""
    masks, originals, rest = {}, {}, {}
    tensors = found.tensors
    alone = not any(t.is_floating_point() for key, t in tensors.items() if not key.endswith("_mask"))
    for key, value in tensors.items():
        short = key.removesuffix("_mask")
        if key.endswith("_mask") and (short in tensors or f"{short}_orig" in tensors or alone):
            masks[short] = value.float()
        elif key.endswith("_orig") and f"{key.removesuffix('_orig')}_mask" in tensors:
            originals[key.removesuffix("_orig")] = value
        else:
            rest[key] = value
    if not masks and _are_masks(rest):
        masks, rest = {key: value.float() for key, value in rest.items()}, {}
    for key, mask in masks.items():
        weight = originals.get(key, rest.get(key))
        if weight is not None and weight.shape != mask.shape:
            raise Refused(f"{name}: {key}_mask has shape {list(mask.shape)}, {key} has {list(weight.shape)}")
        if not is_mask(mask):
            raise Refused(f"{name}: {key}_mask holds other values than 0 and 1")
        if weight is not None:
            rest[key] = weight * mask.to(weight.dtype)
    form = TORCH if originals else ALONE if masks and alone else OURS if masks else PLAIN
    if not masks and not any(t.is_floating_point() for t in rest.values()):
        form = NONE
    return replace(found, form=form, tensors=rest, masks=masks, originals=originals)


def _are_masks(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Tell whether these tensors, without weights among them, are masks under the names of the weights."""
    if not tensors or any(t.is_complex() or not t.dim() for t in tensors.values()):
        return False
    return all(is_mask(tensor) for tensor in tensors.values()) and not all(bool(tensor.all()) for tensor in tensors.values())


def _renamed(tensors: Mapping[str, torch.Tensor], own: list[str]) -> dict[str, torch.Tensor]:
    names = names_in(own, tensors)
    return {names[key]: value for key, value in tensors.items()}


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
    text = f"{value:.6g}" if isinstance(value, float) and math.isfinite(value) else shown(value)
    return text if len(text) <= 60 else text[:57] + "..."
