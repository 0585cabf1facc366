"""Histogram: how the weights that each layer of saved runs kept are distributed."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from Utils.base.errors import Refused
from Utils.base.text import shown
from Utils.measure.weight_histogram import Layer, bin_table, layer_table, measure, select
from Utils.options.experiments import EXPERIMENTS
from Utils.runs.manifest import OwnFiles
from Utils.runs.run_files import alone_in, check_file
from Utils.runs.saved import MODEL, heading, read_tensors, saved_networks
from Utils.runs.writer import Sums

NAME, DEPTH = "histogram", "3d"
ALL = "all"  # --layer: every layer in a figure of its own
KINDS = ("png", "pdf")
LONGEST = 60  # letters of a layer's name in a file name


def run(options: argparse.Namespace) -> None:
    """Print the density of each layer of each `--run FOLDER`, and write tables and figures of its kept weights there.

    All runs are read before anything is written. Nothing else in the folders is changed, so that they stay finished runs.

    Raises:
        Refused: no folder holds a network, one that does cannot be read, or has no such `--layer`; nothing was written.
    """
    runs = []
    for folder in saved_networks(options.run):
        check_file(folder / MODEL)
        layers = measure(read_tensors(folder / MODEL), options.bins, folder / MODEL)
        chosen = _chosen(layers, options.layer, folder)
        figures = [f"{_stem(name)}.{kind}" for name in chosen for kind in KINDS]
        OwnFiles(folder).check({*EXPERIMENTS[NAME].writes, *figures})
        runs.append((folder, layers, chosen))
    for folder, layers, chosen in runs:
        _print(folder, layers)
        with alone_in(folder) as own:
            files = _write(own, layers, chosen, options.log_counts)
            own.write_json(f"{NAME}.json", {"bins": options.bins, "log_counts": options.log_counts, "files": files})


def _chosen(layers: Sequence[Layer], names: Sequence[str], folder: Path) -> dict[str, list[Layer]]:
    """Each of `names` with the layers that it means."""
    found = {name: select(layers, name) for name in names}
    if ALL in found and not found[ALL]:
        del found[ALL]
        found |= {layer.name: [layer] for layer in layers}
    for name, meant in found.items():
        if not meant:
            raise Refused(f"--layer {name}: {folder} has no such layer; it has {', '.join(layer.name for layer in layers)}")
    return found


def _print(folder: Path, layers: Sequence[Layer]) -> None:
    formats = dict.fromkeys(("density", "sparsity"), "{:.6f}".format) | dict.fromkeys(("mean", "std"), "{:.4g}".format)
    kept, size = sum(layer.kept for layer in layers), sum(layer.size for layer in layers)
    print(f"{shown(folder)}\n{layer_table(layers).to_string(index=False, formatters=formats)}")
    print(f"Kept: {kept}/{size} ({kept / size:.4f})")
    if lost := [f"{layer.name} ({layer.not_finite})" for layer in layers if layer.not_finite]:
        print(f"WARNING: weights that are not finite, which the figures leave out: {', '.join(lost)}")


def _write(own: OwnFiles, layers: Sequence[Layer], chosen: dict[str, list[Layer]], log: bool) -> Sums:
    """Write tables and figures; returns the SHA-256 of each file."""
    from Utils.figures.weight_histograms import grid_figure, layer_figure, stacked_figure

    title = f"{heading(own.folder)}, density {sum(a.kept for a in layers) / sum(a.size for a in layers):.4g}"
    files = {f"{NAME}.csv": own.write_table(f"{NAME}.csv", bin_table(layers))}
    files[f"{NAME}-{DEPTH}.csv"] = own.write_table(f"{NAME}-{DEPTH}.csv", bin_table(layers, common=True))
    files |= own.write_figure(NAME, grid_figure(layers, title, log), KINDS)
    files |= own.write_figure(f"{NAME}-{DEPTH}", stacked_figure(layers, title), KINDS)
    print(f"Figures: {shown(own.folder / NAME)}.png, {shown(own.folder / NAME)}-{DEPTH}.png")
    for name, meant in chosen.items():
        files |= own.write_figure(_stem(name), layer_figure(meant, title, log), KINDS)
        print(f"Figure: {shown(own.folder / _stem(name))}.png")
    return files


def _stem(layer: str) -> str:
    """The name of the figure of `layer`, without its ending."""
    return f"{NAME}-{_file_name(layer)}"


def _file_name(name: str) -> str:
    """`name` for a file; what a file name cannot hold is replaced, and a hash keeps names apart."""
    safe = re.sub(r"[^A-Za-z0-9._+=-]+", "_", name)[-LONGEST:]
    return safe if safe == name != DEPTH else f"{safe}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
