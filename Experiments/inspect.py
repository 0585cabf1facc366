"""Inspect: print the content of a checkpoint, and the density, sparsity and capacity of each layer."""

from __future__ import annotations

import pandas as pd

from Models.checkpoint_reader import NONE, Checkpoint, read_checkpoint, summarised
from Utils.base.text import print_lines
from Utils.options.types import Options

EXPERIMENT = {
    "summary": "what a --checkpoint holds, ours or foreign: layers, densities, capacities",
    "reads": ("checkpoint",),
    "kind": "saved runs",
    "prints_alone": True,
}

SHOWN = 40  # up to this number, unmasked tensors are named one by one


def run(options: Options) -> None:
    """Print the content of `--checkpoint FILE`, ours or foreign, read on the CPU without running code from it.

    Raises:
        Refused: it is not a file of tensors and plain values.
    """
    found = read_checkpoint(options.checkpoint)
    print(f"{found.file}: {found.form}, {found.file.stat().st_size} bytes")
    for key, value in found.beside.items():
        print(f"  {key}: {summarised(value)}")
    print_lines(f"NOTE: {note}" for note in found.notes)
    if found.form == NONE:
        return
    table = layer_table(found)
    if len(table):
        print(table.to_string(index=False, formatters=dict.fromkeys(("density", "sparsity"), "{:.6f}".format)))
        kept, size = int(table["kept"].sum()), int(table["size"].sum())
        print(f"Parameter Sparsity: {kept}/{size} ({kept / size:.4f}); sparsity {1 - kept / size:.6f}, capacity {size - kept}")
        if zeros := int(table["zeros_kept"].sum()):
            print(f"NOTE: {zeros} weights are zero and not pruned: masks are the truth")
    rest = [name for name in found.tensors if name not in set(table.get("tensor", ()))]
    entries = sum(found.tensors[name].numel() for name in rest)
    names = f": {', '.join(rest)}" if len(rest) <= SHOWN else ""
    print(f"Beside them {len(rest)} tensors of {entries} entries{names}")


def layer_table(found: Checkpoint) -> pd.DataFrame:
    """Return a row for each masked tensor, or without masks for each weight.

    Columns: size, kept, density, sparsity, capacity. `kept` counts masks; without masks, weights that are not zero. `zeros_kept`
    are zeros that the mask keeps. `stored` are pruned weights of which the file still has a value.
    """
    names = list(found.masks) or [n for n, t in found.tensors.items() if n.endswith("weight") and t.dim() > 1]
    rows = []
    for name in names:
        weight, original = found.tensors.get(name), found.originals.get(name)
        mask = found.masks[name] if name in found.masks else (weight != 0).float()
        size, kept = mask.numel(), int(mask.sum())
        row = {"tensor": name, "shape": "x".join(map(str, mask.shape)), "size": size, "kept": kept, "density": kept / size,
               "sparsity": 1 - kept / size, "capacity": size - kept,
               "zeros_kept": 0 if weight is None else kept - int(((weight != 0) & (mask > 0)).sum())}  # fmt: skip
        if found.originals:
            row["stored"] = 0 if original is None else int(((original != 0) & (mask == 0)).sum())
        rows.append(row)
    return pd.DataFrame(rows)
