"""Time: measure the inference time of saved runs again, beside the dense network."""

from __future__ import annotations

import argparse
from pathlib import Path

from Utils.base.text import print_lines, shown
from Utils.compact.trained import compacted
from Utils.grid.grid_table import update_cell
from Utils.measure.inference_time import inference_times
from Utils.runs.later_measurements import Annex
from Utils.runs.printing import print_inference
from Utils.runs.reopen import reopen, was_given
from Utils.runs.saved import do_each, saved_networks
from Utils.training.network import build_dense

NAME = "time"


def run(options: argparse.Namespace) -> None:
    """Measure `model.pt` of each `--run FOLDER` and write `time.json` there.

    A grid's folder stands for all its cells. A run of `--compact` is measured without its dead units, as it was trained.
    Batches are of the run's own size unless the command gives another. In a grid's `grid.csv` the cell has the new numbers at
    once.

    Raises:
        Refused: no folder holds a saved network, or none of those that do can be read; nothing was written.
        RunFailed: some run cannot be read, or was trained without dead units and can no longer be cut; the others are measured.
    """
    folders, notes = saved_networks(options.run)
    print_lines(notes)
    do_each(folders, lambda folder: _measure(folder, options))


def _measure(folder: Path, options: argparse.Namespace) -> None:
    annex = Annex(folder, NAME)
    run = reopen(folder, options)
    if was_given(options, "test_batch_size") or "test_batch_size" not in run.options:
        run.options.test_batch_size = options.test_batch_size
    compact = getattr(run.options, "compact", False)
    model = compacted(run.model, run.prunables, run.data).model if compact else run.model
    dense = build_dense(run.options, run.data, run.device)
    times = inference_times(model, dense, run.data, run.options, run.device)
    with annex:
        annex.finish(times)
    update_cell(folder, "inference", times)
    print(shown(folder))
    print_inference(times)
