"""The results of a regrowth: its tables, its JSON, its masks, and their printed lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Utils.base.csv_files import read_named
from Utils.base.json_files import read_json
from Utils.base.text import shown
from Utils.regrowth.controller import Settings
from Utils.regrowth.finetune import VALIDATION
from Utils.regrowth.search import Found
from Utils.regrowth.start import PrunedNetwork

ROWS, LAYERS, SEARCH, JSON, MASKS = "regrow.csv", "regrow-layers.csv", "regrow-search.csv", "regrow.json", "regrow_masks.pt"
EPOCHS = "regrow-epochs.csv"
START, CONTROL, REGROWN = "start", "control", "regrown"
EQUAL, PLAIN = "plain pruning, equal epochs", "plain pruning, fine-tuned only"
PLAIN_BEFORE = "plain pruning"  # the name that earlier versions gave the network that is fine-tuned only


def layers_table(opened: PrunedNetwork, steps: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row for each layer and step.

    Columns: step, layer, shape, size, ssim, capacity, allocated, density_before, density_after.
    """
    rows = []
    for number, step in enumerate(steps):
        for name, p in opened.layers.items():
            size, capacity, given = p.mask.numel(), step["capacity"][name], step["allocation"].get(name, 0)
            rows.append(
                {"step": number + 1, "layer": name, "shape": "x".join(map(str, p.mask.shape)), "size": size,
                 "ssim": step["ssim"].get(name), "capacity": capacity, "allocated": given,
                 "density_before": 1 - capacity / size, "density_after": 1 - (capacity - given) / size}
            )  # fmt: skip
    return pd.DataFrame(rows).astype({"ssim": float})


def epochs_table(networks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return every epoch of fine-tuning of every network."""
    parts = [pd.DataFrame(n["rows"], columns=VALIDATION).assign(network=name) for name, n in networks.items() if n.get("rows")]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*VALIDATION, "network"])
    return frame[["network", *VALIDATION]]


def search_table(steps: Sequence[Mapping[str, Any]]) -> pd.DataFrame | None:
    """Return every episode of every search; None if there was none."""
    parts = []
    for number, step in enumerate(steps):
        if step["search"]:
            found = Found(**step["search"])
            parts.append(found.table(found.allocation))
            parts[-1].insert(0, "step", number + 1)
    return pd.concat(parts, ignore_index=True) if parts else None


def masks_file(opened: PrunedNetwork, steps: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    """Return the tensors of `regrow_masks.pt`.

    `LAYER.weight_mask` (uint8) is the final mask; `LAYER.regrown.STEP` (int64) has the flat places turned on in a step.
    """
    tensors = {f"{p.name}_mask": p.mask.to(torch.uint8) for p in opened.prunables}
    for number, step in enumerate(steps):
        tensors |= {f"{name}.regrown.{number}": at.to(torch.int64) for name, at in step["places"].items()}
    return tensors


def read_places(tensors: Mapping[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
    """Read the places from `masks_file`: for each step, layer -> flat places."""
    found: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        layer, word, number = [*key.rsplit(".", 2), "", ""][:3]
        if word == "regrown" and number.isdigit():
            found.setdefault(int(number), {})[layer] = tensor
    return [found[number] for number in sorted(found)]


def report_json(
    opened: PrunedNetwork, steps: Sequence[Mapping[str, Any]], rows: pd.DataFrame, asked: int, method: str,
    equal: str | None, environment: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return `regrow.json`: the budget asked for and spent, its distribution and reasons, seconds, and the environment."""
    spent = sum(sum(step["allocation"].values()) for step in steps)
    options = opened.options
    keep = ("ssim", "capacity", "allocation", "notes", "seconds")
    learnt = options.regrow_allocation == "rl" and not options.regrow_replay
    return {
        "start": options.regrow_start, "dense": options.regrow_dense, "reference": options.regrow_reference,
        "replay": options.regrow_replay, "budget_asked": asked, "budget_spent": spent, "prunable": opened.size,
        "steps": [{key: step[key] for key in keep} for step in steps],
        "controller": vars(Settings()) | {"episodes": options.regrow_episodes} if learnt else None,
        "plain_pruning": method, "equal_pruning": equal, "networks": rows.to_dict("records"), "notes": opened.notes,
        "seed": options.seed, "split_seed": options.split_seed, **environment,
    }  # fmt: skip


def read_rows(folder: Path) -> pd.DataFrame:
    """Read `regrow.csv`; one of an earlier version gets the present names of networks."""
    rows = read_named(folder / ROWS)
    return rows.assign(network=rows["network"].replace({PLAIN_BEFORE: PLAIN}))


def print_regrowth(rows: pd.DataFrame, layers: pd.DataFrame, method: str, equal: str | None) -> None:
    """Print both tables in full, and how the rivals were made; `equal` is None if there is none of equal epochs."""
    print("Layers:\n", layers.to_string(index=False, float_format=lambda v: f"{v:.4g}", na_rep=""))
    whole = {name: lambda v: "" if pd.isna(v) else f"{v:.0f}" for name in ("total_epochs", "search_epochs") if name in rows}
    formats = {"sparsity": "{:.6f}".format} | whole
    print("Networks:\n", rows.to_string(index=False, formatters=formats, float_format="%.2f", na_rep=""))
    print(f"{CONTROL}: the start network, fine-tuned as long.")
    print(f"{PLAIN}: {method}, fine-tuned as long; it lacks the epochs of the start network after its pruning.")
    if equal:
        print(f"{EQUAL}: {equal}, trained as the start network, then fine-tuned as long.")


def print_saved_regrowth(folder: Path) -> None:
    """Print the tables of a finished folder."""
    print(f"Already done: {shown(folder)}")
    told = read_json(folder / JSON)
    print_regrowth(read_rows(folder), read_named(folder / LAYERS), told["plain_pruning"], told.get("equal_pruning"))
