"""Regrowth: the regrown networks beside fine-tuning alone and plain pruning to the same sparsity."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import pandas as pd

from Utils.base.csv_files import read_named
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.regrowth.outputs import JSON, LAYERS, REGROWN, ROWS
from Utils.report.blocks import Block, Figure, Section, Table, slug
from Utils.report.captions import with_rounds
from Utils.report.collect import Collection
from Utils.report.pivot import plus_minus
from Utils.report.report_run import Run
from Utils.runs.saved import last_part, shortened

# Options that runs of one table share.
ALIKE = ("model_class", "model", "dataset", "regrow_to", "regrow_fraction", "regrow_steps", "regrow_finetune_epochs", "optimizer",
         "lr")  # fmt: skip
VALUES = {"val_top1": "validation top-1 (%)", "test_top1": "test top-1 (%)"}


def regrowth(collection: Collection) -> Section | None:
    """Make the section: tables of networks and of layers for all runs that regrew networks of one kind equally far.

    Networks of one kind differ in their seeds alone: one method pruned them to one compression (see `_start`).
    """
    section = Section("Regrowth")
    found: dict[Hashable, dict[str, list[Run]]] = {}
    for run in collection.regrown:
        alike = tuple(str(run[name]) for name in ALIKE)
        found.setdefault(alike, {}).setdefault(_start(run), []).append(run)
    for starts in found.values():
        for start, runs in starts.items():
            section.blocks += _of(runs, start, named=len(starts) > 1)
    return section if section.blocks else None


def _start(run: Run) -> str:
    """Describe the network that a run regrew: its method and compression; the file's name if no run saved it."""
    file = Path(str(run["regrow_start"]))
    try:
        options = read_json(file.parent / "args.json")
        return f"{with_rounds(options)} at compression {float(options['compression']):.6g}"
    except (Refused, OSError, KeyError, TypeError, ValueError):
        return str(file)


def _of(runs: Sequence[Run], start: str, *, named: bool) -> list[Block]:
    """Return the blocks of a table; `start` describes the regrown networks, and is `named` if others have tables too."""
    rows = [table for run in runs if (table := _table(run, ROWS)) is not None]
    if not rows:
        return []
    first = runs[0]
    label = f"{first['model_class']} {shortened(last_part(str(first['model'])))} on {shortened(last_part(str(first['dataset'])))}"
    table = pd.concat(rows, ignore_index=True).drop_duplicates(["network", "seed", "start"])  # allocations share their rivals
    sparsity = table.loc[table["role"] == REGROWN, "sparsity"].iloc[0]
    label = f"{label}, regrown{f' from {start}' if named else ''} to sparsity {sparsity:.4g}"
    seeds = len(set(table["seed"]))
    caption = (
        f"{label}: what the sparse network ({start}), the same fine-tuning without regrowth, plain pruning to the same "
        f"sparsity and regrowth come to. Epochs of fine-tuning: {first['regrow_finetune_epochs']}, {first['optimizer']}, lr "
        f"{float(first['lr']):.6g}; choices are made on validation images; mean ± standard deviation over {seeds} "
        f"seed{'s' * (seeds > 1)}."
    )
    means = table.groupby("network", sort=False)
    numbers = {f"{c}_{f}": (c, f) for c in VALUES for f in ("mean", "std")}
    data = means.agg(sparsity=("sparsity", "first"), kept=("kept", "first"), **numbers, n=("seed", "size")).reset_index()
    text = pd.DataFrame(
        {"network": row["network"], "sparsity": f"{row['sparsity']:.4f}"}
        | {title: plus_minus(2)(row[f"{c}_mean"], row[f"{c}_std"], row["n"]) for c, title in VALUES.items()}
        | {"n": str(row["n"])}
        for row in data.to_dict("records")
    )
    return [Table(slug("regrowth", label), caption, text, data), *_layers(runs, label), *_figures(runs, label)]


def _table(run: Run, name: str) -> pd.DataFrame | None:
    """Read a table of a run, with its seed and start, and with networks named by their method; None if it cannot be read."""
    try:
        start = Path(str(run["regrow_start"])).resolve()
        table = read_named(run.folder / name).assign(seed=run["seed"], start=str(start))
        table["role"] = table["network"]
        chosen = read_json(run.folder / JSON).get("replay")
        table.loc[table["role"] == REGROWN, "network"] = f"{REGROWN}, {_choice(run, replayed=bool(chosen))}"
    except (Refused, OSError, ValueError, KeyError):
        return None
    return table


def _choice(run: Run, replayed: bool = False) -> str:
    how = "replayed" if replayed else f"{run['regrow_allocation']}, {run['regrow_selection']}"
    return f"{how}, {run['regrow_init']}"


def _layers(runs: Sequence[Run], label: str) -> list[Block]:
    """Return a table of the weights that each allocation gave to each layer, mean over seeds."""
    parts = []
    for run in runs:
        try:
            parts.append(read_named(run.folder / LAYERS).assign(choice=_choice(run), seed=run["seed"]))
        except (OSError, ValueError):
            continue
    if not parts:
        return []
    table = pd.concat(parts, ignore_index=True)
    given = table.groupby(["layer", "choice"], sort=False)["allocated"].mean().unstack(sort=False)
    facts = table.groupby("layer", sort=False)[["capacity", "ssim"]].mean()
    text = pd.DataFrame({"layer": facts.index, "capacity": [f"{c:,.0f}" for c in facts["capacity"]]})
    text["SSIM"] = ["none" if pd.isna(s) else f"{s:.3f}" for s in facts["ssim"]]
    for choice in given:
        text[choice] = [f"{value:,.0f}" for value in given.loc[facts.index, choice]]
    caption = f"{label}: weights that each layer was given, by allocation, selection and init, and its SSIM; means over seeds."
    return [Table(slug("regrowth-layers", label), caption, text, table)]


def _figures(runs: Sequence[Run], label: str) -> list[Block]:
    """Return the figure of the first seed of each choice."""
    shown: dict[str, Run] = {}
    for run in sorted(runs, key=lambda r: r["seed"]):
        shown.setdefault(_choice(run), run)
    blocks: list[Block] = []
    for choice, run in shown.items():
        files = run.pictures("regrow")
        caption = f"{label}: {choice}, seed {run['seed']}."
        if "png" in files:
            description = "Accuracies of the networks, and what each layer was given; the tables have the numbers."
            blocks.append(Figure(slug("regrowth", label, choice), caption, description, files=files))
    return blocks
