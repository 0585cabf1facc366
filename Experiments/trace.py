"""Trace: measure the time of one step in a trace file of torch.profiler, written by this or another program."""

from __future__ import annotations

from pathlib import Path

import torch

from Utils.base.csv_files import as_named, read_csv
from Utils.base.json_files import read_json
from Utils.base.text import one_line
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.runs.saved import shortened
from Utils.runs.summary import study_summary
from Utils.trace.measure import measure
from Utils.trace.printing import findings, print_report

EXPERIMENT = {
    "summary": "read a trace of PyTorch's profiler: convolution time, idle gaps, layers, a timeline",
    "reads": ("trace", "verbose", "save"),
    "writes": ("trace.csv", "trace_summary.json", "timeline.{png,pdf,svg}"),
    "kind": "saved runs",
}

TABLE, SUMMARY, PICTURE = "trace.csv", "trace_summary.json", "timeline"


def run(options: Options) -> None:
    """Measure the step of `--trace FILE`, print the results, and save them with a picture.

    Raises:
        Refused: the file is no trace, or contains no work; no file was written.
    """
    with RunFolder(options) as folder:
        if folder.finished:
            print(f"Already done: {folder.path}")
            print_report(read_json(folder.path / SUMMARY), as_named(read_csv(folder.path / TABLE, keep_default_na=False)))
            return _say_where(folder)
        measured = measure(options.trace, options.step)
        from Utils.figures.timeline import timeline_figure

        step, name = measured.summary["step"], Path(options.trace).name
        title = f"{shortened(one_line(name), 70)}: {step['name']}, {step['wall_ms']:.3f} ms"
        figure = timeline_figure(measured.step, measured.layers, title)
        folder.begin(torch.device("cpu"))
        folder.write_table(TABLE, measured.layers)
        folder.write_json(SUMMARY, measured.summary)
        folder.write_figure(PICTURE, figure, ("png", "pdf", "svg"))
        kept = {name: measured.summary[name] for name in ("step", "busy", "convolution", "attribution", "events")}
        folder.finish(study_summary(folder, {"findings": findings(measured.summary), **kept}))
        print_report(measured.summary, measured.layers)  # last, as the reader of a pipe may close it
        _say_where(folder)


def _say_where(folder: RunFolder) -> None:
    if folder.saves:
        print(f"Figure: {folder.path / PICTURE}.png")
