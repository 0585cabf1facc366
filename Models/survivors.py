"""The masks of a network whose weights come from a file that was pruned before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from Models.checkpoint_reader import mask_of_zeros
from Models.layers import Identity2d, weights_of
from Models.masking import Prunable, apply_masks
from Utils.base.errors import Refused
from Utils.base.text import few

SHOWN = 4  # tensors that a line names
DENSE = "--weights-dense"


@torch.no_grad()
def take_masks(model: nn.Module, prunables: Sequence[Prunable], masks: Mapping[str, torch.Tensor], source: str) -> list[str]:
    """Set the masks of `prunables` to those that `source` has, and return notes on what is pruned.

    A tensor without an entry in `masks` (full name -> mask, zero where pruned) counts as pruned if more than half of its values
    are zero, but not all: then its zeros are masked. The network has the weights of `source` already.

    Raises:
        Refused: `source` prunes a tensor that is not prunable here; the masks of `prunables` may have changed then.
    """
    owners = {id(p.weight): p for p in prunables}
    tensors = dict(model.named_parameters(remove_duplicate=False))
    told: set[Prunable] = set()
    strays = []
    for name, mask in masks.items():
        prunable = owners.get(id(tensors.get(name)))
        if prunable is None:
            strays += [name] * (not bool((mask != 0).all()))
        elif prunable in told:  # another name of a shared weight
            prunable.mask.mul_(mask != 0)
        else:
            prunable.mask.copy_(mask != 0)
            told.add(prunable)
    if strays:
        raise Refused(f"{source} prunes {few(strays, SHOWN)}, which this command does not: {_remedy(model, strays)}")
    zeros = [_mask_zeros(p) for p in prunables if p not in told]
    apply_masks(prunables)
    return _notes(prunables, [found for found in zeros if found], source)


def _mask_zeros(prunable: Prunable) -> str:
    """Mask the zeros of a tensor that was pruned without a mask; return its name and their number, or "" if it was not."""
    mask = mask_of_zeros(prunable.weight, beyond=0.5)
    if mask is None:
        return ""
    prunable.mask.copy_(mask)
    return f"{prunable.name} ({int((mask == 0).sum())} of {mask.numel()} are zero)"


def _notes(prunables: Sequence[Prunable], zeros: Sequence[str], source: str) -> list[str]:
    kept = sum(int(torch.count_nonzero(p.mask)) for p in prunables)
    size = sum(p.mask.numel() for p in prunables)
    notes = []
    if zeros:
        notes.append(f"{source} has no masks for {few(zeros, SHOWN)}: these zeros count as pruned; {DENSE} trains them")
    if kept < size:
        notes.append(f"{source} is pruned: {kept} of {size} prunable weights are left ({kept / size:.4f}), and only they are "
                     f"trained and pruned further; {DENSE} takes all")  # fmt: skip
    return notes


def _remedy(model: nn.Module, names: Sequence[str]) -> str:
    """Say what makes these tensors prunable: flags, and the one that ignores all masks."""
    modules = dict(model.named_modules())
    flags = set()
    for name in names:
        owner, _, param = name.rpartition(".")
        module = modules.get(owner)
        if param == "bias":
            flags.add("give --prune-bias")
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            flags.add("give --prune-batchnorm")
        if isinstance(module, Identity2d):
            flags.add("give --prune-residual")
        if module is not None and param in weights_of(module):
            flags.add("leave out --dense-classifier")
    return " and ".join([*sorted(flags)]) + (", or " if flags else "") + f"give {DENSE} to train all weights"
