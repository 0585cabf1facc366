"""Task 1: accuracy of two architectures, then accuracy, inference time and FLOPs at each compression, as tables and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from Utils.figures.accuracy import CurveStyle, compression_figure
from Utils.figures.style import SPARE_COLOURS, SPARE_MARKERS, Look
from Utils.report.assignment.patterns import patterns
from Utils.report.assignment.subjects import Subject, Subjects, means, rounds_said
from Utils.report.assignment.words import METHODS, method_name, several, share
from Utils.report.blocks import Block, Figure, Heading, Note, Table
from Utils.report.captions import sentences
from Utils.report.pivot import JOIN, NOT_RUN, pivot, plus_minus, whole
from Utils.report.times import load_of

ARCHITECTURES = 1.0  # the compression of the table of architectures
SIZE = (6.6, 1.75)  # inches of a curve, without its legend
# The curves: column, its name in a caption, the label of its axis.
CURVES = (
    ("accuracy", "Testing accuracy (top 1)", "top 1 (%)"),
    ("inference_ratio", "Inference time over that of the dense network", "time / dense"),
    ("flops_ratio", "FLOP over that of the dense network", "FLOP / dense"),
)
PLACE = ["pruner", "compression"]


def tuning(subjects: Subjects) -> list[Block]:
    """Make the blocks of the task."""
    main = subjects.main
    if main is None:
        return [Note("There is no finished network for this task.")]
    keep = several(f"{share(10.0**-c)} at {c:.6g}" for c in main.compressions)
    words = (
        f"Compression a keeps 10^-a of the weights: {keep}. This is the density; the assignment calls it sparsity, a word that "
        "elsewhere means the share that is removed."
    )
    blocks: list[Block] = [Heading("Testing on different architectures"), _architectures(subjects)]
    blocks += [Heading("Tuning compression ratio: model summary after pruning"), Note(words)]
    for table, curve in zip((_accuracy(main), _time(main), _flop(main)), CURVES, strict=True):
        blocks += [table, *_curve(main, *curve)]
    return blocks + sentences(patterns(subjects))


def _architectures(subjects: Subjects) -> Table:
    """Return the accuracies at one compression, a row per dataset and network."""
    methods = _columns(subjects.all)
    rows, data = [], []
    for subject in subjects.all:
        table = pivot(subject.group, "accuracy", "", "", plus_minus(2), marks=True, dense=False)
        own = table.text[table.text["compression"] == f"{ARCHITECTURES:.6g}"]
        cells = own.iloc[0].to_dict() if len(own) else {}
        rows.append({"Data": subject.dataset, "Arch": subject.network} | {method_name(m): cells.get(m, NOT_RUN) for m in methods})
        data.append(table.data.assign(data=subject.dataset, arch=subject.network))
    names = several(subject.name for subject in subjects.all)
    dense = [f"{mean.mean():.2f}{JOIN}% for {s.name}" for s in subjects.all if len(mean := means(s, "accuracy"))]
    unpruned = f" Unpruned: {several(dense)}." if dense else ""
    kept = 10.0**-ARCHITECTURES
    caption = (
        f"Testing accuracy (top 1, %) of {names} after the last epoch at compression {ARCHITECTURES:g}: a density of "
        f"{share(kept)}, which the assignment calls sparsity, so that {share(1 - kept)} of the weights are removed."
        f"{unpruned}{_rounds(subjects.all)}"
    )
    return Table("task-1-architectures", caption, pd.DataFrame(rows), pd.concat(data), words=2)


def _columns(subjects: Sequence[Subject]) -> list[str]:
    """Return the methods of the tables: the assignment's five first, whether they were run or not, then all others."""
    return list(dict.fromkeys([*METHODS, *(method for subject in subjects for method in subject.group.methods)]))


def as_asked(subject: Subject, table: Table) -> Table:
    """Give a table of `Utils.report.pivot` the columns of the assignment: the compression, then a column per method."""
    columns = {"Compression": table.text["compression"]}
    columns |= {method_name(m): table.text.get(m, NOT_RUN) for m in _columns([subject])}
    return replace(table, text=pd.DataFrame(columns), words=1)


def _accuracy(subject: Subject) -> Table:
    dense = means(subject, "accuracy")
    unpruned = f" Unpruned: {dense.mean():.2f}{JOIN}%." if len(dense) else ""
    caption = f"Testing accuracy (top 1, %) of {subject.name} after the last epoch.{unpruned}{_rounds([subject])}"
    return as_asked(subject, pivot(subject.group, "accuracy", "task-1-accuracy", caption, plus_minus(2), marks=True, dense=False))


def _time(subject: Subject) -> Table:
    """Return a table whose cells hold the ratio to the dense network with quartiles, then the seconds."""
    ratio = pivot(subject.group, "inference_ratio", "task-1-inference-time", "", dense=False)
    seconds = pivot(subject.group, "inference_seconds", "", "", plus_minus(3, f"{JOIN}s"), dense=False)
    load = f" {said}" if (said := load_of(subject.group.all, "inference")) else ""
    quartiles = ", in brackets the quartiles" if ratio.data["q1"].notna().any() else ""
    caption = (
        f"Total inference time on the testing dataset of {subject.name}. First the time over that of the same network unpruned, "
        f"whose batches took turns with it (median{quartiles}), then the seconds of one pass over the testing dataset. Seconds "
        f"of two cells are of different runs and do not compare; the ratios do.{load}{_rounds([subject])}"
    )
    return as_asked(subject, replace(_joined(subject, ratio, seconds, "{}; {}", "_seconds"), caption=caption))


def _flop(subject: Subject) -> Table:
    """Return a table whose cells hold the FLOPs of one image, then their share of the dense network's."""
    kept = pivot(subject.group, "flops_kept", "task-1-flop", "", whole, dense=False)
    ratio = pivot(subject.group, "flops_ratio", "", "", plus_minus(4), dense=False)
    total = subject.group.table["flops_total"].dropna()
    dense = f" Unpruned: {int(total.iloc[0]):,}." if len(total) else ""
    caption = (
        f"FLOP of {subject.name} for one image: weights, biases and BatchNorm, a multiplication with its addition as one. In "
        f"brackets the share of the unpruned network's.{dense}{_rounds([subject])}"
    )
    return as_asked(subject, replace(_joined(subject, kept, ratio, "{} ({})", "_ratio"), caption=caption))


def _joined(subject: Subject, first: Table, second: Table, form: str, suffix: str) -> Table:
    """Return a table with the numbers of two tables in each cell; words for a missing number stand once."""
    text = first.text.copy()
    for method in subject.group.methods:
        pairs = zip(first.text[method], second.text[method], strict=True)
        text[method] = [one if one == two else form.format(one, two) for one, two in pairs]
    data = first.data.merge(second.data[[*PLACE, "mean"]], on=PLACE, suffixes=("", suffix))
    return replace(first, text=text, data=data)


def _curve(subject: Subject, column: str, name: str, axis: str) -> list[Block]:
    """Return the table of a column as a curve, if there is more than one compression."""
    runs = subject.group.table.assign(**{column: pd.to_numeric(subject.group.table[column])}).dropna(subset=[column])
    if runs["compression"].nunique() < 2:
        return []
    names = {method: method_name(method) for method in subject.group.methods}
    variants = [method for method in subject.group.methods if "," in method]  # as `synflow, 1 round`
    own = {method: Look(SPARE_COLOURS[i % 3], SPARE_MARKERS[i % 8]) for i, method in enumerate(variants)}
    style = CurveStyle(SIZE, names, column != "accuracy", own, exponents=True)
    drawing = compression_figure(runs, column, "", axis, style=style)
    caption = f"{name} of {subject.name} against compression.{_rounds([subject])}"
    words = f"{name} against compression, a line for each of {several(map(method_name, subject.group.methods))}."
    return [Figure(f"task-1-{column.replace('_', '-')}-curve", caption, words, drawing)]


def _rounds(subjects: Sequence[Subject]) -> str:
    said = rounds_said([run for subject in subjects for run in subject.group.runs if run.done])
    return f" {said}." if said else ""
