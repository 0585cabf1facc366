"""The section on the distribution of the weights that each method kept."""

from __future__ import annotations

from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.figures.weight_histograms import grid_figure, layer_figure, stacked_figure
from Utils.measure.weight_histogram import Layer, measure, select
from Utils.options.report_choices import Choices
from Utils.report.blocks import Block, Figure, Note, Section, slug
from Utils.report.captions import not_shown, shown_compression, with_rounds
from Utils.report.groups import Group
from Utils.report.pivot import percent
from Utils.report.report_run import Run
from Utils.runs.saved import MODEL, read_tensors

ALL = "all"  # a figure for every layer


def histograms(groups: list[Group], choices: Choices) -> Section | None:
    """Make the section, from one run per method: every layer, all layers in depth, and single layers.

    `choices` names the single layers.
    """
    section, found, layers = Section("Weight histograms"), set(), []
    for group in groups:
        compression = shown_compression(group, choices.layer_compression)
        shown = choices.methods(group.methods) if compression is not None else []
        for method in shown:
            own = (r for r in group.runs if r["pruner"] == method and r.compression == compression)
            run = next((r for r in sorted(own, key=lambda r: r["seed"]) if r.done and r.file(MODEL)), None)
            if run is None:
                continue
            try:
                check_file(run.folder / MODEL)
                layers = measure(read_tensors(run.folder / MODEL), choices.bins, run.folder / MODEL)
            except Refused as error:
                section.blocks.append(Note(f"{method}, {group.label}: the weights cannot be used ({error})."))
                continue
            section.blocks += _of(group, run, layers, choices)
            found |= {name for name in choices.histogram_layers if _chosen(layers, name)}
        section.blocks += not_shown(group, shown, "weights") if layers and shown else []
    if layers and (unknown := [name for name in choices.histogram_layers if name not in found]):
        names = ", ".join(layer.name for layer in layers)
        raise Refused(f"--layer {unknown[0]}: no network of the report has such a layer; the last one has {names}")
    return section if section.blocks else None


def _chosen(layers: list[Layer], name: str) -> list[list[Layer]]:
    """Return the layers of each figure that `name` asks for: all that it means in one figure; for `all`, one each."""
    meant = select(layers, name)
    return [meant] if meant else [[layer] for layer in layers] if name == ALL else []


def _of(group: Group, run: Run, found: list[Layer], choices: Choices) -> list[Block]:
    at = f"{with_rounds(run.options)} at compression {run.compression:.6g}, {group.label}"
    kept, size = sum(layer.kept for layer in found), sum(layer.size for layer in found)
    words = f"{at}, seed {run['seed']}: {kept:,} of {size:,} weights are kept (sparsity {percent(1 - kept / size)})"
    stem = slug("weights", str(run["pruner"]), group.label)
    blocks: list[Block] = []
    for name in choices.histogram_layers:
        for meant in _chosen(found, name):
            alone = meant[0].name if name == ALL else name
            each = "; ".join(f"{layer.name}: sparsity {percent(1 - layer.density)}" for layer in meant)
            caption = f"{at}, seed {run['seed']}: kept weights of {alone}. {each}."
            drawing = layer_figure(meant, at, choices.log_counts)
            blocks.append(Figure(slug(stem, alone), caption, f"Histograms of the kept weights of {alone}.", drawing))
    grid = f"{words}. Kept weights of each layer; pruned ones are counted in the titles, not drawn."
    depth = f"{words}. All layers in depth, each as shares of its own kept weights."
    return [
        *blocks,
        Figure(stem, grid, f"A histogram for each of {len(found)} layers.", grid_figure(found, at, choices.log_counts)),
        Figure(slug(stem, "3d"), depth, f"Histograms of {len(found)} layers, one behind the other.", stacked_figure(found, at)),
    ]
