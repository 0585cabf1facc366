"""The task of 2025 on layers: sparsity, FLOPs and weight histograms of every layer, for all methods at one compression."""

from __future__ import annotations

import pandas as pd

from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.figures.weight_histograms import stacked_figure
from Utils.measure.weight_histogram import measure
from Utils.options.report_choices import Choices
from Utils.report import findings
from Utils.report.assignment.block import COMPRESSION
from Utils.report.assignment.patterns import in_words
from Utils.report.assignment.subjects import Subjects, rounds_said
from Utils.report.assignment.words import method_name, share
from Utils.report.blocks import Block, Figure, Heading, Note, Table, slug
from Utils.report.captions import sentences
from Utils.report.pivot import NOT_RUN
from Utils.report.sections.layers import by_method, layer_tables
from Utils.runs.saved import MODEL, read_tensors


def all_layers(subjects: Subjects, choices: Choices) -> list[Block]:
    """Make the blocks of the task."""
    main, asked = subjects.main, choices.layer_compression
    compression = COMPRESSION if asked is None else asked
    tables = layer_tables(main.group) if main else pd.DataFrame()
    own = tables[(tables["compression"] - compression).abs() < 1e-6] if len(tables) else tables
    if main is None or own.empty:
        return [Note(f"There is no network at compression {compression:.6g} for this task.")]
    methods = main.group.methods
    at = f"{main.name} at compression {compression:.6g}"
    rounds = f" {said}." if (said := rounds_said([run for run in main.group.runs if run.done])) else ""
    density, flops = by_method(own, "density", methods), by_method(own, "kept_flops", methods)
    dense = own.groupby("layer", sort=False)["flops"].first()
    blocks: list[Block] = [
        Heading("Sparsity and weight histograms"),
        Table("task-2-sparsity", f"Sparsity (share of weights that are removed) of each layer of {at}.{rounds}",
              _titled((1 - density).map(lambda v: NOT_RUN if pd.isna(v) else share(v)))),
    ]  # fmt: skip
    blocks.append(Note("In the histograms one layer lies behind the other, each as shares of the weights that it keeps."))
    for method in methods:
        blocks += _histogram(subjects, method, compression, choices, at)
    counts = pd.DataFrame({"Unpruned": dense.reindex(flops.index)} | {m: flops[m] for m in flops})
    caption = f"FLOP of each layer's weights of {at}, for one image; a multiplication with its addition counts once.{rounds}"
    text = _titled(counts.map(lambda v: NOT_RUN if pd.isna(v) else f"{v:,.0f}"))
    blocks += [Heading("FLOPs of each layer (optional)"), Table("task-2-layer-flops", caption, text, counts.reset_index())]
    return blocks + sentences([*map(in_words, findings.emptied(main.group)), *map(in_words, findings.extremes(density))])


def _titled(table: pd.DataFrame) -> pd.DataFrame:
    named = table.rename(columns={name: method_name(str(name)) for name in table.columns})
    return named.rename_axis("Layers").rename_axis(None, axis="columns").reset_index()


def _histogram(subjects: Subjects, method: str, compression: float, choices: Choices, at: str) -> list[Block]:
    run = subjects.main.of(method, compression)
    name = method_name(method)
    if run is None or not run.file(MODEL):
        return [Note(f"{name}: there is no saved network.")]
    try:
        check_file(run.folder / MODEL)
        layers = measure(read_tensors(run.folder / MODEL), choices.bins, run.folder / MODEL)
    except Refused as error:
        return [Note(f"{name}: the weights cannot be used ({error}).")]
    drawing = stacked_figure(layers, f"{name}, {at}")
    caption = f"Weight histograms of {at}, pruned by {name}."
    return [Figure(slug("task-2-weights", method), caption, caption, drawing, half=True)]
