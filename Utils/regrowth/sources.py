"""The reader of values of pruned weights: from the dense network, stored values, or a less sparse reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from Models.masking import Prunable
from Models.weights import copy_tensors
from Utils.base.errors import Refused
from Utils.data.dataset import Dataset
from Utils.options.types import Options
from Utils.regrowth.selection import Sources
from Utils.runs.checkpoint_reader import Checkpoint, read_checkpoint
from Utils.training.masked_network import build_model


def read_sources(
    options: Options, data: Dataset, found: Checkpoint, prunables: Sequence[Prunable], device: torch.device
) -> tuple[Sources, nn.Module | None]:
    """Return the values of pruned weights by layer, on the device, and the dense network."""
    sources, dense = Sources(), None
    named = {p.module_name: p.name for p in prunables if p.param == "weight"}
    pick = lambda tensors: {m: tensors[n].to(device) for m, n in named.items() if n in tensors}  # noqa: E731
    if options.regrow_dense:
        with torch.random.fork_rng(devices=[]):
            dense = build_model(options, data)
        read = read_checkpoint(options.regrow_dense)
        copy_tensors(dense, read.tensors, f"--regrow-dense {options.regrow_dense}")
        dense = dense.to(device).eval().requires_grad_(False)
        sources.dense_state = dense.state_dict()
        sources.dense = pick(sources.dense_state)
        alive = [int(m.sum()) / m.numel() for m in read.masks.values()]
        if alive and min(alive) < 1:
            sources.notes.append(f"--regrow-dense {options.regrow_dense} is itself pruned")
    if found.originals:
        sources.original = pick(found.originals)
    elif options.run and (original := stored_file(Path(options.run[0]))) is not None:
        sources.original = pick(read_checkpoint(original).tensors)
    sources.original = sources.original or sources.dense
    if options.regrow_reference:
        read = read_checkpoint(options.regrow_reference)
        if not set(named.values()) <= set(read.masks):
            raise Refused(f"--regrow-reference {options.regrow_reference} has no mask for some layer of the network")
        sources.reference, sources.reference_masks = pick(read.tensors), pick(read.masks)
        for p in (p for p in prunables if p.param == "weight"):
            if sources.reference[p.module_name].shape != p.weight.shape:
                raise Refused(f"--regrow-reference {options.regrow_reference} does not fit the network at {p.name}")
    return sources, dense


def stored_file(folder: Path) -> Path | None:
    """Return the file of a run that has the values of pruned weights."""
    return next((folder / name for name in ("dense.pt", "initial.pt") if (folder / name).is_file()), None)
