"""The tables of a grid: accuracy, inference time, FLOPs."""

from __future__ import annotations

import pandas as pd

from Utils.figures.accuracy import compression_figure
from Utils.report import findings
from Utils.report.blocks import Block, Figure, Section, Sentences, Table, Warnings, slug
from Utils.report.groups import Group
from Utils.report.pivot import percent, pivot, plus_minus, whole

MASKED = "Masks do not change dense kernels: times of masked networks differ by chance alone."


def accuracy(groups: list[Group]) -> Section | None:
    """Top-1 accuracy of the last epoch, a table per network and dataset."""
    section = Section("Accuracy")
    for group in (g for g in groups if g.trained):
        caption = f"{group.label}: top-1 accuracy (%) on the test set after {_epoch(group)}. {described(group)}"
        section.blocks.append(pivot(group, "accuracy", slug("accuracy", group.label), caption, plus_minus(2), marks=True))
        if group.differences:
            recipes = [f"Not the same for all runs of this table: {line}." for line in group.differences]
            section.blocks.append(Warnings(recipes))
        section.blocks += sentences(findings.leaders(group) + findings.doubtful(group))
    return section if section.blocks else None


def inference(groups: list[Group]) -> Section | None:
    """Seconds for the whole test set, a table per network and dataset."""
    section = Section("Inference time")
    for group in (g for g in groups if g.trained and g.table["inference_seconds"].notna().any()):
        caption = f"{group.label}: seconds for one pass over the test set, data on the device, model alone. {_measured(group)}"
        name = slug("inference", group.label)
        section.blocks.append(pivot(group, "inference_seconds", name, caption, plus_minus(4)))
        section.blocks += _curves(group, "inference_seconds", name, "seconds for the test set")
        section.blocks += sentences(findings.inference(group))
    return section if section.blocks else None


def flops(groups: list[Group]) -> Section | None:
    """FLOPs for one image, as counts and as shares of the dense network, and the effective density where it differs."""
    section = Section("FLOPs")
    for group in (g for g in groups if any(run.done for run in g.runs or g.dense)):
        total = group.table["flops_total"].dropna()
        counted = f"of {int(total.iloc[0]):,} of the dense network" if len(total) else ""
        caption = f"{group.label}: multiply-adds for one image {counted}, weights, biases and BatchNorm counted"
        name = slug("flops", group.label)
        section.blocks.append(pivot(group, "flops_kept", name, f"{caption}. {described(group, False)}", whole, dense=False))
        ratio = f"{group.label}: the same as a share of the dense network. {described(group, False)}"
        section.blocks.append(pivot(group, "flops_ratio", slug("flop-ratio", group.label), ratio, plus_minus(4), dense=False))
        section.blocks += _curves(group, "flops_ratio", slug("flop-ratio", group.label), "share of the dense FLOPs", log=True)
        if effective := _effective(group):
            section.blocks.append(effective)
        section.blocks += sentences(findings.flops(group))
    return section if section.blocks else None


def _epoch(group: Group) -> str:
    patient = {bool(run["patience"]) for run in group.all}
    kept = "the epoch whose network is kept, the best in validation (--patience)"
    return kept if patient == {True} else f"the last epoch, in some runs {kept}" if True in patient else "the last epoch"


def described(group: Group, trained: bool = True) -> str:
    """Settings and n, the end of a caption."""
    spread = "mean ± standard deviation over seeds" if group.table.duplicated(["pruner", "compression"]).any() else "one seed"
    recipe = f"{group.recipe}; " if trained and group.recipe else ""
    text = f"{recipe}{spread}, {group.n()}."
    return text[0].upper() + text[1:]


def sentences(lines: list[str]) -> list[Block]:
    """A block of generated sentences, if there are any."""
    return [Sentences(lines)] if lines else []


def _measured(group: Group) -> str:
    found = [run.summary["inference"] for run in group.all if (run.summary.get("inference") or {}).get("total_seconds")]
    devices = dict.fromkeys(str(times.get("device")) for times in found)
    batch = dict.fromkeys(str(times.get("batch_size")) for times in found)
    jobs = max((times.get("jobs") or 0 for times in found), default=0)
    at_once = f" Up to {jobs} cells ran at once, which disturbs times." if jobs else ""
    masked = "" if group.key.get("compact") else f" {MASKED}"
    where = f"{' or '.join(devices)}, batches of {' or '.join(batch)}; the median of up to five passes per network, "
    return f"{where}{described(group, False).lower()}{masked}{at_once}"


def _effective(group: Group) -> Table | None:
    """The effective density, where any network has weights that touch dead units."""
    table = group.table.dropna(subset=["effective_density", "density"])
    if table.empty or not (table["density"] - table["effective_density"] > 5e-7).any():
        return None
    counted = "effective density, which counts weights on a path from input to output alone"
    caption = f"{group.label}: {counted}. {described(group, False)}"
    text = lambda mean, std, n: percent(mean)  # noqa: E731
    return pivot(group, "effective_density", slug("effective-density", group.label), caption, text, dense=False)


def _curves(group: Group, column: str, name: str, label: str, log: bool = False) -> list[Block]:
    """The table as curves, where there is more than one compression."""
    runs = group.table.assign(**{column: pd.to_numeric(group.table[column])}).dropna(subset=[column])
    if runs["compression"].nunique() < 2 or not group.methods:
        return []
    drawing = compression_figure(runs, column, group.label, label, log)
    caption = f"{group.label}: {label} against compression. {described(group, False)}"
    description = f"A line for each of {', '.join(group.methods)}: {label} against compression; the table above has the numbers."
    return [Figure(name, caption, description, drawing)]
