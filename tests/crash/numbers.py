"""Everything that runs came to, but for times and memory, so that two of them can be compared."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch

MOODS = ("seconds", "load", "stack", "peak_memory_bytes", "peak_memory_of", "inference", "trace", "files", "expid", "options", "checksum")  # the machine's, and names


def numbers(folder: Path) -> dict[str, Any]:
    """The summary, each table as text, and each tensor file's tensors by `file/name`, of the run in `folder`."""
    found: dict[str, Any] = {}
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    found["summary.json"] = {key: value for key, value in summary.items() if key not in MOODS}
    for path in folder.glob("*.csv"):
        found[path.name] = pd.read_csv(path, dtype=str).drop(columns="seconds", errors="ignore").to_csv()
    for path in folder.glob("*.pt"):
        found |= {f"{path.name}/{name}": tensor for name, tensor in _tensors(torch.load(path, weights_only=True), "")}
    return found


def _tensors(value: Any, name: str) -> list[tuple[str, Any]]:
    """Tensors and plain values in nested dicts and lists, with their places; tensors as bytes, so that NaN equals NaN."""
    if isinstance(value, torch.Tensor):
        buffer = io.BytesIO()
        torch.save(value.detach().clone(), buffer)
        return [(name, (str(value.dtype), tuple(value.shape), buffer.getvalue()))]
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in _tensors(inner, f"{name}.{key}")]
    if isinstance(value, list | tuple):
        return [pair for key, inner in enumerate(value) for pair in _tensors(inner, f"{name}.{key}")]
    return [(name, value)]


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of what is in one alone, or is not the same in both."""
    return sorted(a.keys() ^ b.keys()) + sorted(name for name in a.keys() & b.keys() if a[name] != b[name])


def same(a: dict[str, Any], b: dict[str, Any]) -> None:
    """Assert that there are no differences."""
    found = differences(a, b)
    assert not found, found


def grid_numbers(grid: Path) -> dict[str, dict[str, Any]]:
    """`numbers` of every cell of a grid, by name."""
    return {path.parent.name: numbers(path.parent) for path in sorted(grid.glob("*/summary.json"))}


def grid_differences(one: Path, two: Path) -> list[str]:
    """`cell: name` of everything that is not the same in two grids."""
    a, b = grid_numbers(one), grid_numbers(two)
    found = [f"{cell}: in one of them alone" for cell in sorted(a.keys() ^ b.keys())]
    return found + [f"{cell}: {name}" for cell in sorted(a.keys() & b.keys()) for name in differences(a[cell], b[cell])]
