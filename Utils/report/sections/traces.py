"""The section on traces of one inference step, of runs made with `--save-trace` and of the experiment `trace`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.base.checksums import check_file
from Utils.base.csv_files import as_named, read_csv
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.figures.timeline import timeline_figure
from Utils.options.report_choices import Choices
from Utils.report import findings
from Utils.report.blocks import Block, Figure, Note, Section, Table, slug
from Utils.report.captions import rounds_in, sentences
from Utils.report.collect import Collection
from Utils.report.recipes import VARIED
from Utils.report.report_run import Run
from Utils.report.times import load_of
from Utils.runs.saved import last_part
from Utils.trace import printing
from Utils.trace.measure import measure

OPERATORS = 10


def traces(collection: Collection, choices: Choices) -> Section | None:
    """Make the section: for each trace, step, busy and convolution time, classes of work, layers, operators, timeline.

    Of the traces of one method, it shows that at the compression of `choices`, and names the others.
    """
    section = Section("Trace of one inference step")
    traced: dict[str, list[Run]] = {}
    for run in (run for run in collection.done if run.file("trace.json")):
        traced.setdefault(str(run.recipe | dict.fromkeys(VARIED[1:])), []).append(run)
    for runs in traced.values():
        shown = runs if choices.everything else [_shown(runs, choices.layer_compression)]
        for run in shown:
            section.blocks += _of_run(run)
        others = [f"compression {run.compression:.6g}, seed {run['seed']}" for run in runs if run not in shown]
        more = f"{runs[0]['pruner']} has traces at {'; '.join(others)} too: --experiment report --layer-method all shows them."
        section.blocks += [Note(more)] if others else []
    for run in collection.traces:
        section.blocks += _of_experiment(run)
    return section if section.blocks else None


def _shown(runs: list[Run], asked: float | None) -> Run:
    """Choose the trace whose compression is nearest to that asked for, or the middle one."""
    ordered = sorted(runs, key=lambda run: (run.compression, run["seed"]))
    middle = ordered[(len(ordered) - 1) // 2]
    return middle if asked is None else min(ordered, key=lambda run: abs(run.compression - asked))


def _of_run(run: Run) -> list[Block]:
    model, dataset = (last_part(str(run[name])) for name in ("model", "dataset"))
    at = "" if run["pruner"] == DENSE else f" at compression {run.compression:.6g}"
    title = f"{model} on {dataset}, {run['pruner']}{at}, seed {run['seed']}"
    try:
        check_file(run.folder / "trace.json")
        measured = measure(run.folder / "trace.json")
    except Refused as error:
        return [Note(f"{title}: the trace cannot be used ({error}).")]
    step = measured.summary["step"]
    drawing = timeline_figure(measured.step, measured.layers, f"{title}: {step['wall_ms']:.3f} ms")
    return _blocks(title, measured.summary, measured.layers, Figure(slug("timeline", title), *_words(title, run), drawing))


def _of_experiment(run: Run) -> list[Block]:
    title = str(run["expid"] or run.folder.name)
    try:
        summary = read_json(run.folder / "trace_summary.json")
        table = as_named(read_csv(run.folder / "trace.csv", keep_default_na=False))  # its layers are numbers
        figure = Figure(slug("timeline", title), *_words(title, run), files=run.pictures("timeline"))
        return _blocks(title, summary, table, figure)
    except (Refused, KeyError, ValueError, TypeError, OSError) as error:
        return [Note(f"{title}: the trace cannot be used ({error}).")]


def _words(title: str, run: Run) -> tuple[str, str]:
    """Return caption and description of a timeline."""
    caption = f"{title}: one inference step, a row per thread and stream, coloured by class of work; {run['device']}."
    caption += f" {load}" if (load := load_of([run])) else ""
    caption += f" Pruned by {found}." if (found := rounds_in([run])) else ""
    return caption, f"Timeline of the step of {title}; the tables have the times."


def _blocks(title: str, summary: Mapping[str, Any], layers: pd.DataFrame, timeline: Figure) -> list[Block]:
    lines = [line for line in printing.findings(dict(summary)) if not line.startswith("Trace:")]
    classes = pd.DataFrame(
        {"class": row["class"], "ms": f"{row['ms']:.3f}", "of the step": f"{row['share_of_step']:.1%}",
         "of busy": f"{row['share_of_busy']:.1%}"}
        for row in summary["classes"] if row["ms"]
    )  # fmt: skip
    on_device = summary["on"] == "device"
    time = "self_device_ms" if on_device else "self_cpu_ms"
    operators = pd.DataFrame(
        {"operator": row["operator"], "self ms": f"{row[time]:.3f}", "calls": str(row["calls"])}
        for row in summary["operators"][:OPERATORS]
    )
    where = "on the device" if on_device else "on the CPU"
    blocks: list[Block] = [
        timeline,
        Note(" ".join(line if line.endswith(".") else f"{line}." for line in map(str.strip, lines))),
        *sentences(findings.trace(summary)),
        Table(slug("trace-classes", title), f"{title}: time of each class of work; each instant counts once.", classes),
        Table(slug("trace-operators", title), f"{title}: operators by their own time {where}, the first {OPERATORS}.", operators),
    ]
    if len(layers):
        text = pd.DataFrame(
            {"layer": str(row["layer"]), "name": str(row["name"]), "input": str(row["input"]),
             "ms": f"{row['time_us'] / 1e3:.3f}",
             "of the step": f"{row['share_of_step']:.1%}", "of busy": f"{row['share_of_busy']:.1%}"}
            for row in layers.to_dict("records")
        )  # fmt: skip
        caption = f"{title}: time in which each convolution ran, in order of the calls."
        blocks.append(Table(slug("trace-layers", title), caption, text, layers, words=3))
    return blocks
