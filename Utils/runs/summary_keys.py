"""The declarations of the keys of `summary.json` and the columns of `compression.csv`.

A declaration says what a value means, whether it is a column of `grid.csv`, and how a grid prints it and a report shows it. The
readers of a saved run, the tables of a grid and the sections of a report all query it. A new number is therefore computed in the
module that measures it and declared here; no other file need name it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """The type of a value."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    FLAG = "true or false"
    TEXT = "a text"
    LIST = "a list"
    NUMBERS = "names with a number, or null, each"
    MAPPING = "names with anything"


WHOLE, NUMBER, FLAG, TEXT, LIST, NUMBERS, MAPPING = Kind
NESTED = (NUMBERS, MAPPING)


@dataclass(frozen=True)
class Report:
    """The way in which a report shows a number of a run, or of a layer.

    Attributes:
        column: its name in the table of a group's runs; empty for the key's own.
        digits: after the point; None for a whole number.
        percent: the number is a share, shown in percent.
        divisor: the number is divided by it before it is shown, as by 1e6 for MB.
        better: `higher` or `lower` where methods can be ranked by the number; empty where they cannot.
        table: it has a table of its own among the measurements. Other numbers are shown by a section that knows them.
    """

    column: str = ""
    digits: int | None = None
    percent: bool = False
    divisor: float = 1.0
    better: str = ""
    table: bool = False


@dataclass(frozen=True)
class Key:
    """A key of `summary.json`, or of a mapping in it.

    Attributes:
        name: the key.
        kind: the type of its value.
        unit: of its value, for readers of this file.
        label: the words under which it is printed and reported.
        null: the value may be null. A `NUMBER` always may: one that is not finite is written so.
        trained: the value is null if the run trained no network.
        column: it is a column of `grid.csv`; each number of a mapping is one, `key_name`. Plain values always are.
        twin: the column where an option that varies has the name of the key; without a twin it has none there.
        cell: its place, from 1, among the columns that a grid prints of its cells; 0 for none.
        if_any: the column is printed only if a cell has a number other than 0.
        warning: the line that a run prints if a flag is set or a list is not empty; `{}` stands for the list.
        inner: the declared keys of a mapping; it may have others.
        report: the way in which a report shows it; None if it does not.
    """

    name: str
    kind: Kind
    unit: str = ""
    label: str = ""
    null: bool = False
    trained: bool = False
    column: bool = False
    twin: str = ""
    cell: int = 0
    if_any: bool = False
    warning: str = ""
    inner: tuple[Key, ...] = ()
    report: Report | None = None


@dataclass(frozen=True)
class Column:
    """A column of `compression.csv`, which has a row for each parameter tensor.

    Attributes:
        name: the heading.
        label: the words under which a report shows it.
        printed: a run prints it.
        format: of a printed number, as `.6f`; empty for pandas' own.
        report: the way in which a report shows its mean over seeds for each layer's weights; None if it does not.
    """

    name: str
    label: str = ""
    printed: bool = False
    format: str = ""
    report: Report | None = None


def _count(name: str, unit: str, **more: Any) -> Key:
    return Key(name, WHOLE, unit, **more)


_QUARTILES = tuple(Key(name, NUMBER, "s") for name in ("median", "q1", "q3"))
_PERCENT = {"unit": "%"}
_CONDITIONS = (Key("device", TEXT), _count("jobs", "cells", null=True), Key("load", NUMBERS, "processes", null=True))
_PAIRS = (Key("ratio", NUMBERS), *(Key(f"{word}_seconds", NUMBERS, "s", inner=_QUARTILES) for word in ("full", "mixed")),
          _count("pairs", "pairs"), _count("batch_size", "images"))  # fmt: skip
_NETWORK = (_count("parameters", "parameters"), _count("macs", "MACs"), _count("file_bytes", "bytes"))

KEYS: tuple[Key, ...] = (
    # Every run.
    Key("schema", WHOLE), Key("status", TEXT, cell=1), Key("experiment", TEXT), Key("expid", TEXT), Key("options", MAPPING),
    Key("seed", WHOLE), Key("reason", TEXT),
    # The size of the pruned network (Utils/measure/counting.py, Models/reach.py).
    _count("params_kept", "parameters", cell=2), _count("params_total", "parameters"),
    _count("flops_kept", "multiply-adds", label="multiply-adds for one image", cell=3, report=Report()),
    _count("flops_total", "multiply-adds", cell=4, report=Report()),
    _count("macs_kept", "MACs"), _count("macs_total", "MACs"),
    _count("params_effective", "parameters", null=True), _count("flops_effective", "multiply-adds", null=True),
    _count("macs_effective", "MACs", null=True),
    Key("density_asked", NUMBER, "share"), Key("density", NUMBER, "share", twin="density_kept", report=Report(percent=True)),
    Key("effective_density", NUMBER, "share", report=Report(percent=True),
        label="effective density, which counts weights on a path from input to output alone"),
    Key("left_dense", NUMBERS, "share"), Key("left_dense_share", NUMBER, "share"),
    Key("collapsed_layers", LIST, warning="LAYER COLLAPSE: no weight was kept in {}"),
    Key("unused_layers", LIST),
    Key("collapsed", FLAG, label="no path is left from the input to the output", report=Report(),
        warning="COLLAPSED: no path is left from the input to the output; the network is constant"),
    _count("kept_by_position", "weights", cell=8, if_any=True),
    Key("zero_scores", MAPPING, inner=(Key("layers", NUMBERS, "weights"), Key("cause", TEXT))),
    # Costs (Utils/compute/clock.py).
    Key("seconds", NUMBERS, "s", null=True, column=True,
        inner=(Key("post_train", NUMBER, "s", "training time (s)", report=Report("train_seconds", digits=1)),)),
    Key("peak_memory_bytes", NUMBERS, "bytes", null=True, column=True,
        inner=(Key("train", NUMBER, "bytes", "peak memory (MB)",
                   report=Report("train_memory", digits=1, divisor=1e6)),)),
    Key("peak_memory_of", TEXT, null=True), Key("precision", TEXT), _count("stack", "cells"),
    Key("compiled", FLAG), Key("same_as", TEXT),
    # Accuracies (Utils/runs/summary.py, Utils/training/early_stopping.py).
    Key("untrained", FLAG, label="the loss is no better than predicting class frequencies", null=True, trained=True,
        warning="UNTRAINED: the test loss is no better than always predicting the class frequencies", report=Report()),
    Key("top1_last", NUMBER, label="top-1 accuracy (%)", trained=True, cell=5, **_PERCENT,
        report=Report("accuracy", digits=2, better="higher")),
    Key("top5_last", NUMBER, trained=True, cell=7, **_PERCENT),
    Key("top1_best", NUMBER, label="top-1 accuracy (%) of the best epoch", trained=True, cell=6, **_PERCENT,
        report=Report(digits=2)),
    _count("best_epoch", "epochs", null=True, trained=True), Key("test_loss_last", NUMBER, trained=True),
    Key("val_loss_last", NUMBER), Key("val_top1_last", NUMBER, **_PERCENT),
    _count("kept_epoch", "epochs"), _count("epochs_trained", "epochs"), _count("dense_kept_epoch", "epochs"),
    # Masks that move, networks without dead units (Pruners/_shared/updates.py, Utils/compact/trained.py).
    _count("mask_updates", "times"), Key("explored", NUMBER, "share"),
    _count("params_compact", "parameters"), _count("macs_compact", "MACs"),
    # Times (Utils/measure/inference_time.py), and those of one traced step (Utils/runs/outputs.py).
    Key("inference", MAPPING, null=True, column=True, inner=(
        Key("network", TEXT), _count("batch_size", "images"), _count("repeats", "times"), _count("total_repeats", "times"),
        Key("total_seconds", NUMBER, "s", "seconds for the test set", report=Report("inference_seconds", digits=4)),
        Key("batch_seconds", NUMBERS, "s", null=True, inner=_QUARTILES),
        Key("dense_total_seconds", NUMBER, "s"), Key("dense_batch_seconds", NUMBERS, "s", null=True, inner=_QUARTILES),
        Key("ratio", NUMBERS, null=True, inner=tuple(
            Key(name, NUMBER, label="inference time relative to dense", report=Report(f"inference_ratio{end}", digits=2))
            for name, end in (("median", ""), ("q1", "_q1"), ("q3", "_q3")))), Key("precision", TEXT), *_CONDITIONS)),
    # Mixed beside full precision (Utils/training/precision_pairs.py).
    Key("precision_pairs", MAPPING, null=True, column=True, inner=(Key("full", TEXT), Key("mixed", TEXT), *_CONDITIONS,
        *(Key(name, MAPPING, inner=_PAIRS) for name in ("train", "inference")))),
    Key("trace", NUMBERS, "ms and shares", null=True, column=True),
    # The networks that `compact.json` compares, read with the summary (Utils/runs/later_measurements.py).
    *(Key(name, MAPPING, column=True, inner=_NETWORK) for name in ("dense", "masked", "compact")),
    # Regrowth (Experiments/regrow.py).
    *(Key(f"top1_{name}", NUMBER, **_PERCENT) for name in ("start", "control", "plain", "equal")),
    Key("density_start", NUMBER, "share"), _count("total_epochs", "epochs", null=True), _count("search_epochs", "epochs"),
    # Studies, traces and reports.
    Key("findings", LIST, null=True), Key("slopes", NUMBERS), Key("largest_deviation", NUMBERS),
    Key("largest_difference", NUMBERS), Key("max_ratio", NUMBER),
    _count("budget", "weights"), _count("repeats", "times"), Key("seconds_by_phase", MAPPING, "s"), Key("notes", LIST),
    *(Key(f"{part}_top1_{name}", NUMBER, **_PERCENT) for part in ("val", "test") for name in ("start", "control")),
    *(Key(name, MAPPING, null=True) for name in ("step", "busy", "convolution", "attribution", "events")),
    Key("sections", LIST), Key("runs", WHOLE),
    # Written last, with every run.
    _CONDITIONS[2], Key("files", MAPPING),
)  # fmt: skip

LAYER_COLUMNS: tuple[Column, ...] = (
    Column("module", printed=True), Column("param", printed=True), Column("shape", printed=True),
    Column("size", printed=True, report=Report()), Column("kept", printed=True, report=Report()),
    Column("density", "density of each layer's weights", printed=True, format=".6f", report=Report(percent=True)),
    Column("effective", printed=True),
    Column("flops", printed=True, report=Report()),
    Column("kept_flops", "multiply-adds of each layer's weights alone for one image", printed=True, report=Report()),
    Column("macs"), Column("kept_macs"),
    *(Column(f"score_{name}") for name in ("var", "sum", "abs_mean", "abs_var")),
    Column("score_mean", printed=True, format=".4g"), Column("score_abs_sum", printed=True, format=".4g"),
    Column("prunable", printed=True), Column("left_dense", printed=True, format=".4f"),
    Column("kept_by_position", printed=True), Column("zero_cause"),
    *(Column(name) for name in ("effective_density", "effective_flops", "effective_macs", "units", "live_units")),
)  # fmt: skip


def flags() -> list[Key]:
    """List the flags of a network that the reader of its numbers must know."""
    return [key for key in KEYS if key.kind is FLAG and key.report]


def printed_cells() -> list[Key]:
    """List the keys that a grid prints of its cells, in that order."""
    return [key for key in sorted(KEYS, key=lambda key: key.cell) if key.cell]


def report_columns() -> dict[str, tuple[tuple[str, ...], Key]]:
    """Return the columns of a report's table of runs: name -> the path to the value in a summary, and its declaration."""
    found = ((path, key) for path, key in _all(KEYS) if key.report)
    return {key.report.column or key.name: (path, key) for path, key in found}


def value_at(summary: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Return the value at `path`, key in key; None if there is none."""
    value: Any = summary
    for name in path:
        value = (value or {}).get(name)
    return value


def _all(keys: Sequence[Key], place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Key]]:
    for key in keys:
        yield (*place, key.name), key
        yield from _all(key.inner, (*place, key.name))


def grid_columns(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a summary that are columns of `grid.csv`: plain ones in its order, then those in mappings.

    An undeclared plain value, of a later version of the program, is a column too.
    """
    plain = {name: value for name, value in summary.items() if not isinstance(value, dict | list)}
    nested = [key.name for key in KEYS if key.column]
    return plain | {k: v for name in nested for k, v in flat(name, summary.get(name) or {}).items()}


def flat(key: str, value: Any) -> dict[str, Any]:
    """Flatten a mapping: `inference: {batch_seconds: {median: 1}}` -> `inference_batch_seconds_median: 1`."""
    if not isinstance(value, dict):
        return {key: value}
    return {k: v for inner, content in value.items() for k, v in flat(f"{key}_{inner}", content).items()}
