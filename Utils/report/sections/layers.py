"""The section on layers: densities and FLOPs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from Utils.base.csv_files import read_named
from Utils.figures.layer_density import density_heatmap, layer_bars
from Utils.options.report_choices import Choices
from Utils.report import findings
from Utils.report.blocks import Block, Figure, Section, Table, slug
from Utils.report.captions import described, not_shown, rounds_in, sentences, shown_compression
from Utils.report.groups import Group
from Utils.report.pivot import format_of, percent
from Utils.runs import summary_keys
from Utils.runs.summary_keys import Column

WEIGHT = "weight"


def layers(groups: list[Group], choices: Choices) -> Section | None:
    """Make the section: the density of each layer and the FLOPs that it keeps.

    Figures show all methods, tables those of `choices`.
    """
    section = Section("Layers")
    for group in groups:
        compression = shown_compression(group, choices.layer_compression)
        tables = layer_tables(group)
        if compression is not None and not tables.empty:
            section.blocks += _of(group, compression, tables, choices.methods(group.methods))
    return section if section.blocks else None


def _of(group: Group, compression: float, tables: pd.DataFrame, methods: Sequence[str]) -> list[Block]:
    own = tables[tables["compression"] == compression]
    density = by_method(own, "density", group.methods)
    flops = by_method(own, "kept_flops", group.methods)
    dense = own.groupby("layer", sort=False)["flops"].first()
    shown = [method for method in methods if method in density] or list(density)
    at = f"{group.label} at compression {compression:.6g}"
    others = sorted(set(tables["compression"]) - {compression})
    more = f" The CSV file has the other compressions too ({', '.join(f'{c:.6g}' for c in others)})." if others else ""
    labels = {column.name: f"{at}: {column.label}, mean over seeds. {described(group, False)}" for column in _columns()}
    rounds = f" ({found})" if (found := rounds_in(run for run in group.runs if run.done)) else ""
    heat = f"Heat map of the densities of {len(density)} layers for {', '.join(density)}; the table has the numbers."
    bars = layer_bars(flops.assign(dense=dense)[["dense", *flops]], at, "multiply-adds of the weights")
    return [
        Table(slug("layer-density", group.label), f"{labels['density']}{more}", density[shown].map(_percent).reset_index(),
              _long(tables)),
        Figure(slug("layer-density", group.label),
               f"{at}{rounds}: density of each layer, mean over seeds; empty layers are marked.", heat,
               density_heatmap(density, at)),
        *sentences(findings.emptied(group) + findings.extremes(density)),
        Table(slug("layer-flops", group.label), labels["kept_flops"], _flops_text(flops[shown], dense),
              flops.assign(dense=dense).reset_index()),
        Figure(slug("layer-flops", group.label),
               f"{at}{rounds}: multiply-adds that each layer keeps, and those of the dense layer.",
               f"Kept multiply-adds of {len(flops)} layers for {', '.join(flops)}; the table has the numbers.", bars),
        *_tables_of_others(group, own, labels, shown),
        *not_shown(group, shown, "tables of layers"),
    ]  # fmt: skip


def _columns() -> list[Column]:
    """List the columns of `compression.csv` that a report shows."""
    return [column for column in summary_keys.LAYER_COLUMNS if column.report]


def _tables_of_others(group: Group, own: pd.DataFrame, labels: Mapping[str, str], shown: Sequence[str]) -> list[Block]:
    """Return a table for each column that declares one, if the runs have it: the mean over seeds by layer and method."""
    blocks: list[Block] = []
    for column in (c for c in _columns() if c.report.table and c.name in own and own[c.name].notna().any()):
        means, text = by_method(own, column.name, group.methods), format_of(column.report)
        cells = means[[method for method in shown if method in means]]
        cells = cells.map(lambda v, text=text: "not measured" if pd.isna(v) else text(v, 0.0, 1)).reset_index()
        blocks.append(Table(slug("layer", column.name, group.label), labels[column.name], cells, means.reset_index()))
    return blocks


def layer_tables(group: Group) -> pd.DataFrame:
    """Read the weights of all runs: layer, the columns that a report shows, pruner, compression and seed.

    A run of an earlier version may lack a column. It is left out if a figure here needs the column; else only its numbers are.
    """
    tables = []
    for run in (r for r in group.runs if r.done and r.file("compression.csv")):
        try:
            table = read_named(run.folder / "compression.csv")
            table = table[table["prunable"].astype(bool) & (table["param"] == WEIGHT)]
            columns = table[[c.name for c in _columns() if c.name in table or not c.report.table]]
        except (ValueError, KeyError, OSError):
            continue
        place = {"pruner": str(run["pruner"]), "compression": run.compression, "seed": run["seed"]}
        tables.append(columns.assign(layer=table["module"].fillna("").replace("", "(network)"), **place))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def by_method(tables: pd.DataFrame, column: str, methods: Sequence[str]) -> pd.DataFrame:
    """Return the mean of `column` over seeds: layers, in the order of the network, by methods that have any."""
    means = tables.groupby(["layer", "pruner"], sort=False)[column].mean().unstack(sort=False)
    order = list(dict.fromkeys(tables["layer"]))
    return means.reindex(index=order, columns=[m for m in methods if m in means])


def _long(tables: pd.DataFrame) -> pd.DataFrame:
    keys = ["compression", "layer", "pruner"]
    columns = [column.name for column in _columns() if column.name in tables]
    return tables.groupby(keys, sort=False).agg(**{c: (c, "mean") for c in columns}, n=("seed", "size")).reset_index()


def _flops_text(flops: pd.DataFrame, dense: pd.Series) -> pd.DataFrame:
    text = pd.DataFrame({"dense": dense.reindex(flops.index)} | {m: flops[m] for m in flops})
    text.loc["sum"] = text.sum()
    return text.map(lambda v: "not run" if pd.isna(v) else f"{v:,.0f}").rename_axis("layer").reset_index()


def _percent(density: float) -> str:
    return "not run" if pd.isna(density) else "0, empty" if density == 0 else percent(density)
