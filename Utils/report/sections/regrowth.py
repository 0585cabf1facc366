"""Regrowth: the regrown networks beside fine-tuning alone and plain pruning to the same sparsity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from Utils.base.csv_files import read_named
from Utils.base.errors import Refused
from Utils.base.text import counted, one_line
from Utils.regrowth.outputs import LAYERS, REGROWN, ROWS, START
from Utils.report.blocks import Block, Figure, Section, Table, Warnings, slug
from Utils.report.collect import Collection
from Utils.report.pivot import plus_minus
from Utils.report.regrown import Regrowth, RegrowthTable, regrowth_tables
from Utils.runs.saved import last_part, shortened

VALUES = {"val_top1": "validation top-1 (%)", "test_top1": "test top-1 (%)"}
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
    rows, faults = _read(table.regrowths, ROWS, _with_networks)
    layers, more = _read(table.regrowths, LAYERS, lambda frame, regrowth: frame.assign(choice=regrowth.choice))
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
    regrowths: Sequence[Regrowth], name: str, add: Callable[[pd.DataFrame, Regrowth], pd.DataFrame]
) -> tuple[pd.DataFrame | None, list[str]]:
    """Read a table of each run, with the run's seed and start; return one table, None if there is none, and the faults."""
    tables, faults = [], []
    for regrowth in regrowths:
        try:
            frame = read_named(regrowth.run.folder / name)
            tables.append(add(frame.assign(seed=regrowth.run["seed"], start=regrowth.start, run=len(tables)), regrowth))
        except (Refused, OSError, ValueError, KeyError) as error:
            faults.append(f"{regrowth.run.folder / name} cannot be read, its rows are missing here: {one_line(str(error))}")
    return (pd.concat(tables, ignore_index=True) if tables else None), faults


def _with_networks(rows: pd.DataFrame, regrowth: Regrowth) -> pd.DataFrame:
    """Name the regrown network by its choice; the start is the same network whatever the seed of the regrowth."""
    if lacking := {"network", "sparsity", "kept", *VALUES} - set(rows):
        raise ValueError(f"no column {', '.join(sorted(lacking))}")
    rows = rows.assign(role=rows["network"])
    rows.loc[rows["role"] == REGROWN, "network"] = f"{REGROWN}, {regrowth.choice}"
    rows.loc[rows["role"] == START, "seed"] = -1
    return rows


def _networks(rows: pd.DataFrame, table: RegrowthTable, label: str) -> Table:
    """Return the table of networks: n counts distinct ones, as regrowths of one network share it and its rivals."""
    first = table.regrowths[0].run
    networks = rows.drop_duplicates(NETWORK)
    starts = rows["start"].nunique()
    caption = (
        f"{label}: what the sparse network ({table.start}), the same fine-tuning without regrowth, plain pruning to the same "
        f"sparsity and regrowth come to. Epochs of fine-tuning: {first['regrow_finetune_epochs']}, {first['optimizer']}, lr "
        f"{float(first['lr']):.6g}; choices are made on validation images; mean ± standard deviation over n distinct networks, "
        f"from {counted(starts, 'start network')}."
    )
    numbers = {f"{c}_{f}": (c, f) for c in VALUES for f in ("mean", "std")}
    means = networks.groupby("network", sort=False)
    data = means.agg(sparsity=("sparsity", "first"), kept=("kept", "first"), **numbers, n=("seed", "size")).reset_index()
    text = pd.DataFrame(
        {"network": row["network"], "sparsity": f"{row['sparsity']:.4f}"}
        | {title: plus_minus(2)(row[f"{c}_mean"], row[f"{c}_std"], row["n"]) for c, title in VALUES.items()}
        | {"n": str(row["n"])}
        for row in data.to_dict("records")
    )
    return Table(slug("regrowth", label), caption, text, data)


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
