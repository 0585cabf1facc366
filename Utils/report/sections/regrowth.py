"""Regrowth: the regrown networks beside fine-tuning alone and plain pruning to the same sparsity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from Utils.base.csv_files import read_named
from Utils.base.errors import Refused
from Utils.base.text import counted, one_line
from Utils.regrowth.outputs import CONTROL, EQUAL, LAYERS, PLAIN, REGROWN, ROWS, START, read_rows
from Utils.report.blocks import Block, Figure, Section, Table, Warnings, slug
from Utils.report.collect import Collection
from Utils.report.pivot import plus_minus
from Utils.report.regrown import Regrowth, RegrowthTable, regrowth_tables
from Utils.runs.saved import last_part, shortened

VALUES = {"val_top1": "validation top-1 (%)", "test_top1": "test top-1 (%)"}
EPOCHS = {"total_epochs": "epochs in all", "search_epochs": "epochs of the search"}
NETWORK = ["network", "seed", "start", "kept", *VALUES]  # the columns in which two rows of one network are the same


def regrowth(collection: Collection) -> Section | None:
    """Make the section: tables of networks and of layers for all runs that regrew networks of one kind equally far.

    Networks of one kind differ in their seeds alone (see `Utils.report.regrown`).
    """
    section = Section("Regrowth")
    for table in regrowth_tables(collection.regrown):
        section.blocks += _of(table)
    return section if section.blocks else None


def _of(table: RegrowthTable) -> list[Block]:
    """Return the blocks of a table, and a warning for each run whose files cannot be read."""
    rows, faults = _read(table.regrowths, ROWS, read_rows, _with_networks)
    layers, more = _read(table.regrowths, LAYERS, read_layers, lambda frame, regrowth: frame.assign(choice=regrowth.choice))
    warnings: list[Block] = [Warnings([*faults, *more])] if faults or more else []
    if rows is None:
        return warnings
    first = table.regrowths[0].run
    label = f"{first['model_class']} {shortened(last_part(str(first['model'])))} on {shortened(last_part(str(first['dataset'])))}"
    sparsity = rows.loc[rows["role"] == REGROWN, "sparsity"].iloc[0]
    label = f"{label}, regrown{f' from {table.start}' if table.named else ''} to sparsity {sparsity:.4g}"
    label = f"{label}, {table.recipe}" if table.recipe else label
    blocks = [_networks(rows, table, label), *_layers(layers, label), *_figures(table.regrowths, label)]
    return [*blocks, *warnings]


def _read(
    regrowths: Sequence[Regrowth], name: str, read: Callable[[Path], pd.DataFrame],
    add: Callable[[pd.DataFrame, Regrowth], pd.DataFrame],
) -> tuple[pd.DataFrame | None, list[str]]:  # fmt: skip
    """Read a table of each run, with the run's seed and start; return one table, None if there is none, and the faults."""
    tables, faults = [], []
    for regrowth in regrowths:
        try:
            frame = read(regrowth.run.folder)
            tables.append(add(frame.assign(seed=regrowth.run["seed"], start=regrowth.start, run=len(tables)), regrowth))
        except (Refused, OSError, ValueError, KeyError) as error:
            faults.append(f"{regrowth.run.folder / name} cannot be read, its rows are missing here: {one_line(str(error))}")
    return (pd.concat(tables, ignore_index=True) if tables else None), faults


def _with_networks(rows: pd.DataFrame, regrowth: Regrowth) -> pd.DataFrame:
    """Name the regrown network by its choice; the start is the same network whatever the seed of the regrowth."""
    if lacking := {"network", "sparsity", "kept", *VALUES} - set(rows):
        raise ValueError(f"no column {', '.join(sorted(lacking))}")
    counts = {name: rows[name].astype(float) if name in rows else math.nan for name in EPOCHS}  # nan: of an earlier version
    rows = rows.assign(role=rows["network"], **counts)
    rows.loc[rows["role"] == REGROWN, "network"] = f"{REGROWN}, {regrowth.choice}"
    rows.loc[rows["role"] == START, "seed"] = -1
    return rows


def _networks(rows: pd.DataFrame, table: RegrowthTable, label: str) -> Table:
    """Return the table of networks: n counts distinct ones, as regrowths of one network share it and its rivals."""
    first = table.regrowths[0].run
    networks = rows.drop_duplicates(NETWORK)
    starts = rows["start"].nunique()
    caption = (
        f"{label}: the sparse network ({table.start}), the same fine-tuning without regrowth ({CONTROL}), regrowth, and plain "
        f"pruning to the same sparsity; {_rivals(set(rows['role']))}. Epochs of fine-tuning: {first['regrow_finetune_epochs']}, "
        f"{first['optimizer']}, lr {float(first['lr']):.6g}; choices are made on validation images; mean ± standard deviation "
        f"over n distinct networks, from {counted(starts, 'start network')}."
    )
    shown = [name for name in EPOCHS if name == "total_epochs" or networks[name].any()]
    numbers = {f"{c}_{f}": (c, f) for c in VALUES for f in ("mean", "std")}
    means = networks.groupby("network", sort=False)
    numbers = {name: (name, "mean") for name in shown} | numbers | {"n": ("seed", "size")}
    data = means.agg(sparsity=("sparsity", "first"), kept=("kept", "first"), **numbers).reset_index()
    text = pd.DataFrame(
        {"network": row["network"], "sparsity": f"{row['sparsity']:.4f}"}
        | {EPOCHS[c]: "unknown" if math.isnan(row[c]) else f"{row[c]:.6g}" for c in shown}
        | {title: plus_minus(2)(row[f"{c}_mean"], row[f"{c}_std"], row["n"]) for c, title in VALUES.items()}
        | {"n": str(row["n"])}
        for row in data.to_dict("records")
    )
    return Table(slug("regrowth", label), caption, text, data)


def _rivals(networks: set[str]) -> str:
    """Say in words what each network of plain pruning is; one of equal epochs is missing where its training is not known."""
    lacking = f"{PLAIN!r} lacks the epochs that the sparse network had after its pruning"
    if EQUAL not in networks:
        return f"{lacking}, and there is none that was trained as long"
    return f"{EQUAL!r} was trained as long as the regrown network, {lacking}"


def read_layers(folder: Path) -> pd.DataFrame:
    """Read `regrow-layers.csv`."""
    return read_named(folder / LAYERS)


def _layers(table: pd.DataFrame | None, label: str) -> list[Block]:
    """Return a table of the weights that each allocation gave to each layer: sums over the steps, means over the networks.

    Capacity and SSIM are those before the first step, means over the start networks.
    """
    if table is None:
        return []
    sums = table.groupby(["layer", "choice", "run"], sort=False)["allocated"].sum()
    given = sums.groupby(["layer", "choice"], sort=False).mean().unstack(sort=False)
    before = table[table["step"] == 1].drop_duplicates(["layer", "start"])
    facts = before.groupby("layer", sort=False)[["capacity", "ssim"]].mean()
    text = pd.DataFrame({"layer": facts.index, "capacity": [f"{c:,.0f}" for c in facts["capacity"]]})
    text["SSIM"] = ["none" if pd.isna(s) else f"{s:.3f}" for s in facts["ssim"]]
    for choice in given:
        text[choice] = [f"{value:,.0f}" for value in given.loc[facts.index, choice]]
    caption = (
        f"{label}: weights that each layer was given in all steps, by allocation, selection and init, and its SSIM before; means "
        f"over {counted(table['run'].nunique(), 'regrowth')}."
    )
    return [Table(slug("regrowth-layers", label), caption, text, table.drop(columns="run"))]


def _figures(regrowths: Sequence[Regrowth], label: str) -> list[Block]:
    """Return the figure of the first seed of each choice."""
    shown: dict[str, Regrowth] = {}
    for regrowth in sorted(regrowths, key=lambda r: r.run["seed"]):
        shown.setdefault(regrowth.choice, regrowth)
    blocks: list[Block] = []
    for choice, regrowth in shown.items():
        files = regrowth.run.pictures("regrow")
        caption = f"{label}: {choice}, seed {regrowth.run['seed']}."
        if "png" in files:
            description = "Accuracies of the networks, and what each layer was given; the tables have the numbers."
            blocks.append(Figure(slug("regrowth", label, choice), caption, description, files=files))
    return blocks
