"""Task 3 of 2026: the sparsity of the convolutions of one block, and the histograms of the kept weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.figures.weight_histograms import grid_figure, layer_figure, stacked_figure
from Utils.measure.weight_histogram import MASK, Layer, measure, select
from Utils.options.report_choices import Choices
from Utils.report.assignment.subjects import Subjects
from Utils.report.assignment.words import method_name, share
from Utils.report.blocks import Block, Figure, Note, Table
from Utils.report.report_run import Run
from Utils.runs.saved import MODEL, read_tensors

METHOD, COMPRESSION, BLOCK = "snip", 0.5, "blocks.0"
CONVOLUTION = 4  # dimensions of a convolution's weight
MANY = 24  # layers, above which all of them do not fit on a page
COLUMNS = 5  # panels of all layers side by side


def block(subjects: Subjects, choices: Choices) -> list[Block]:
    """Make the blocks of the task."""
    run = run_of(subjects, choices)
    if run is None:
        return [Note("There is no saved network of SNIP for this task.")]
    at = f"{subjects.main.name}, pruned by {method_name(str(run['pruner']))} at compression {run.compression:.6g}"
    try:
        tensors = _tensors(run)
        layers = measure(tensors, choices.bins, run.folder / MODEL)
    except Refused as error:
        return [Note(f"{at}: the weights cannot be used ({error}).")]
    blocks: list[Block] = []
    for name in choices.histogram_layers or (BLOCK,):
        meant = [layer for layer in select(layers, name) if len(layer.shape) == CONVOLUTION] or select(layers, name)
        if meant:
            blocks += _of_block(at, name, meant, tensors, choices)
    return blocks + _of_all(at, layers, choices)


def run_of(subjects: Subjects, choices: Choices) -> Run | None:
    """Choose the run of the task: SNIP at the compression that the report shows, with its network."""
    main, asked = subjects.main, choices.layer_compression
    run = main.of(METHOD, COMPRESSION if asked is None else asked) if main else None
    return run if run is not None and run.file(MODEL) else None


def _tensors(run: Run) -> Mapping[str, torch.Tensor]:
    check_file(run.folder / MODEL)
    return read_tensors(run.folder / MODEL)


def _of_block(at: str, name: str, meant: list[Layer], tensors: Mapping[str, torch.Tensor], choices: Choices) -> list[Block]:
    """Return the sparsity of a block and of each convolution in it, and their histograms; the block has all their weights."""
    word = _block_name(name)
    whole = [_together(word, meant, tensors, choices.bins)] if len(meant) > 1 else []
    rows = [
        {
            "Layer": layer.name,
            "Weights": f"{layer.size:,}",
            "Kept": f"{layer.kept:,}",
            "Sparsity (removed)": share(1 - layer.density),
            "Density (kept; the assignment's sparsity)": share(layer.density),
        }
        for layer in [*whole, *meant]
    ]
    caption = f"Sparsity of the weights of the convolution layers of {word}, {at}."
    drawing = layer_figure([*whole, *meant], at, choices.log_counts)
    words = f"Weight histograms of the convolution layers of {word}" + (", all together first, then each" if whole else "")
    return [
        Table(f"task-3-sparsity-{name}", caption, pd.DataFrame(rows)),
        Figure(f"task-3-weights-{name}", f"{words}: number of kept weights in each interval of values; {at}.", words, drawing),
    ]


def _block_name(name: str) -> str:
    """Return a block's name in words: `blocks.0` -> block 0."""
    kind, dot, number = name.rpartition(".")
    return f"block {number}" if kind == "blocks" and dot and number.isdecimal() else name


def _together(name: str, meant: Sequence[Layer], tensors: Mapping[str, torch.Tensor], bins: int) -> Layer:
    """Return several layers as one, which has all their weights."""
    weight = torch.cat([tensors[layer.full].flatten() for layer in meant])
    masks = [tensors.get(layer.full + MASK, torch.ones_like(tensors[layer.full])).flatten() for layer in meant]
    own = {f"{name}.weight": weight, f"{name}.weight{MASK}": torch.cat(masks)}
    return measure(own, bins, Path(MODEL))[0]


def _of_all(at: str, layers: list[Layer], choices: Choices) -> list[Block]:
    kept, size = sum(layer.kept for layer in layers), sum(layer.size for layer in layers)
    words = f"Weight histograms of all {len(layers)} layers"
    caption = f"{words}, {at}: {kept:,} of {size:,} weights are kept (sparsity {share(1 - kept / size)})."
    many = len(layers) > MANY
    drawing = stacked_figure(layers, at) if many else grid_figure(layers, at, choices.log_counts, COLUMNS)
    return [Figure("task-3-weights-all", caption, f"{words} of {at}.", drawing)]
