"""The reader of values of pruned weights: from the dense network, stored values, or a less sparse reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from Models.checkpoint_reader import Checkpoint, read_checkpoint
from Models.masking import Prunable
from Models.weights import copy_tensors
from Utils.base.errors import Refused
from Utils.base.text import few
from Utils.data.dataset import Dataset
from Utils.options.types import Options
from Utils.regrowth.selection import Sources
from Utils.training.masked_network import build_model


def read_sources(
    options: Options, data: Dataset, found: Checkpoint, model: nn.Module, prunables: Sequence[Prunable], device: torch.device
) -> tuple[Sources, nn.Module | None]:
    """Return the values of pruned weights by layer, on the device, and the dense network."""
    sources, dense = Sources(), None
    named = {p.module_name: p.name for p in prunables if p.param == "weight"}
    kind = {p.name: p.weight.dtype for p in prunables}
    pick = lambda tensors: {m: tensors[n].to(device, kind[n]) for m, n in named.items() if n in tensors}  # noqa: E731
    if options.regrow_dense:
        with torch.random.fork_rng(devices=[]):
            dense = build_model(options, data)
        read = _read(options.regrow_dense, "--regrow-dense", dense, sources)
        copy_tensors(dense, read.tensors, f"--regrow-dense {options.regrow_dense}")
        dense = dense.to(device).eval().requires_grad_(False)
        sources.dense_state = dense.state_dict()
        sources.dense = pick(sources.dense_state)
        alive = [int(m.sum()) / m.numel() for m in read.with_masks_of_zeros(named.values(), 0.5).masks.values()]
        if alive and min(alive) < 1:
            sources.notes.append(f"--regrow-dense {options.regrow_dense} is itself pruned")
    if found.originals:
        sources.original = pick(found.originals)
    elif options.run and (original := stored_file(Path(options.run[0]))) is not None:
        sources.original = pick(read_checkpoint(original).named_as(model, str(original)).tensors)
    sources.original = sources.original or sources.dense
    if options.regrow_reference:
        read = _read(options.regrow_reference, "--regrow-reference", model, sources)
        plain = not read.masks
        read = read.with_masks_of_zeros(named.values())
        masks = {n: torch.ones_like(read.tensors[n]) for n in named.values() if plain and n in read.tensors} | read.masks
        lacking = [name for name in named.values() if name not in masks or name not in read.tensors]
        if not read.masks or lacking:
            fault = "has no mask for some layer of the network: " + few(lacking) if lacking else "is dense: no masks and no zeros"
            raise Refused(f"--regrow-reference {options.regrow_reference} {fault}")
        sources.notes += [note for note in read.notes if note not in sources.notes]
        sources.reference, sources.reference_masks = pick(read.tensors), pick(masks)
        for p in (p for p in prunables if p.param == "weight"):
            if sources.reference[p.module_name].shape != p.weight.shape:
                raise Refused(f"--regrow-reference {options.regrow_reference} does not fit the network at {p.name}")
    return sources, dense


def _read(file: str, flag: str, model: nn.Module, sources: Sources) -> Checkpoint:
    """Read the file that `flag` names, under the names of `model`; the notes about it go to `sources`."""
    found = read_checkpoint(file, f"{flag} {file}").named_as(model, f"{flag} {file}")
    sources.notes += found.notes
    return found


def stored_file(folder: Path) -> Path | None:
    """Return the file of a run that has the values of pruned weights."""
    return next((folder / name for name in ("dense.pt", "initial.pt") if (folder / name).is_file()), None)
