"""Histogram: the distribution of the weights that each layer of saved runs kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.base.text import pick_from, shown
from Utils.measure.weight_histogram import Layer, bin_table, layer_table, measure, select
from Utils.options.types import Options
from Utils.runs.later_measurements import Annex
from Utils.runs.saved import MODEL, heading, named_networks, read_tensors
from Utils.runs.writer import KINDS

EXPERIMENT = {
    "summary": "draw how the kept weights of saved runs are distributed: --run FOLDER ...",
    "reads": ("run", "histogram", "verbose"),
    "writes": ("histogram.{csv,png,pdf}", "histogram-3d.{csv,png,pdf}", "histogram.json"),
    "into_runs": True,
    "kind": "saved runs",
}

NAME, DEPTH = "histogram", "3d"
ALL = "all"  # --layer: a figure for every layer
LONGEST = 60  # letters of a layer's name in a file name


def run(options: Options) -> None:
    """Print the density of each layer of each `--run FOLDER`; write tables and figures of its kept weights there.

    All runs are read before a file is written. All other files in the folders stay unchanged, so that they remain finished runs.

    Raises:
        Refused: no folder holds a network, one that does cannot be read, or has no such `--layer`; no file was written.
    """
    folders = named_networks(options.run)
    runs = []
    for folder in folders:
        check_file(folder / MODEL)
        layers = measure(read_tensors(folder / MODEL), options.bins, folder / MODEL)
        chosen = _chosen(layers, options.layer, folder)
        figures = [f"{_stem(name)}.{kind}" for name in chosen for kind in KINDS]
        runs.append((Annex(folder, NAME, figures), layers, chosen))
    for annex, layers, chosen in runs:
        _print(annex.folder, layers)
        with annex:
            _write(annex, layers, chosen, options.log_counts)
            annex.finish({"bins": options.bins, "log_counts": options.log_counts})


def _chosen(layers: Sequence[Layer], names: Sequence[str], folder: Path) -> dict[str, list[Layer]]:
    """Return each of `names` with the layers that it means."""
    found = {name: select(layers, name) for name in names}
    if ALL in found and not found[ALL]:
        del found[ALL]
        found |= {layer.name: [layer] for layer in layers}
    for name, meant in found.items():
        if not meant:
            raise Refused(f"--layer {name}: {folder} has no such layer; {pick_from(name, (layer.name for layer in layers))}")
    return found


def _print(folder: Path, layers: Sequence[Layer]) -> None:
    formats = dict.fromkeys(("density", "sparsity"), "{:.6f}".format) | dict.fromkeys(("mean", "std"), "{:.4g}".format)
    kept, size = sum(layer.kept for layer in layers), sum(layer.size for layer in layers)
    print(f"{shown(folder)}\n{layer_table(layers).to_string(index=False, formatters=formats)}")
    print(f"Kept: {kept}/{size} ({kept / size:.4f})")
    if lost := [f"{layer.name} ({layer.not_finite})" for layer in layers if layer.not_finite]:
        print(f"WARNING: weights that are not finite, which the figures leave out: {', '.join(lost)}")


def _write(annex: Annex, layers: Sequence[Layer], chosen: dict[str, list[Layer]], log: bool) -> None:
    """Write tables and figures, and print where the figures are."""
    from Utils.figures.weight_histograms import grid_figure, layer_figure, stacked_figure

    title = f"{heading(annex.folder)}, density {sum(a.kept for a in layers) / sum(a.size for a in layers):.4g}"
    annex.write_table(f"{NAME}.csv", bin_table(layers))
    annex.write_table(f"{NAME}-{DEPTH}.csv", bin_table(layers, common=True))
    annex.write_figure(NAME, grid_figure(layers, title, log))
    annex.write_figure(f"{NAME}-{DEPTH}", stacked_figure(layers, title))
    print(f"Figures: {shown(annex.folder / NAME)}.png, {shown(annex.folder / NAME)}-{DEPTH}.png")
    for name, meant in chosen.items():
        annex.write_figure(_stem(name), layer_figure(meant, title, log))
        print(f"Figure: {shown(annex.folder / _stem(name))}.png")


def _stem(layer: str) -> str:
    """Return the name of the figure of `layer`, without its ending."""
    return f"{NAME}-{_file_name(layer)}"


def _file_name(name: str) -> str:
    """Make a file name of `name`; unsuitable characters are replaced, and a hash keeps names distinct."""
    safe = re.sub(r"[^A-Za-z0-9._+=-]+", "_", name)[-LONGEST:]
    return safe if safe == name != DEPTH else f"{safe}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
