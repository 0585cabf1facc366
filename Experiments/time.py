"""Time: measure the inference time of saved runs again, beside the dense network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from Utils.base.text import shown
from Utils.compact.trained import compacted
from Utils.grid.grid_table import update_cell
from Utils.measure.inference_time import inference_times
from Utils.options.types import Options
from Utils.runs.later_measurements import Annex
from Utils.runs.printing import print_inference
from Utils.runs.reopen import reopen, was_given
from Utils.runs.saved import on_saved_networks
from Utils.training.masked_network import build_dense

EXPERIMENT = {
    "summary": "measure the inference time of saved runs again: --run FOLDER ...",
    "reads": ("saved networks",),
    "writes": ("time.json",),
    "into_runs": True,
    "kind": "saved runs",
}

NAME = "time"


def run(options: Options) -> None:
    """Measure `model.pt` of each `--run FOLDER` and write `time.json` there.

    A grid's folder stands for all its cells. A run of `--compact` is measured without its dead units, as it was trained. Batches
    have the run's own size unless the command gives another. The row of a cell in `grid.csv` gets the new numbers at once.

    Raises:
        Refused: no folder holds a saved network, or none of those that do can be read; no file was written.
        RunFailed: some run cannot be read, or was trained without dead units and can no longer be cut; the others are measured.
    """
    on_saved_networks(options.run, lambda folder: _measure(folder, options))


def _measure(folder: Path, options: Options) -> None:
    annex = Annex(folder, NAME)
    run = reopen(folder, options)
    own = run.options
    if was_given(options, "test_batch_size") or not own.reads("test"):
        own = replace(own, test_batch_size=options.test_batch_size)
    model = compacted(run.model, run.prunables, run.data).model if own.compact else run.model
    dense = build_dense(own, run.data, run.device)
    times = inference_times(model, dense, run.data, own, run.precision)
    with annex:
        annex.finish(times)
    update_cell(folder, "inference", times)
    print(shown(folder))
    print_inference(times)
