"""Time: measure the inference time of saved runs again, beside the dense network, and mixed beside full precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from Utils.base.text import shown
from Utils.compact.trained import compacted
from Utils.grid.grid_table import update_cell
from Utils.measure.inference_time import inference_times
from Utils.options.types import Options
from Utils.runs.later_measurements import Annex, later_numbers
from Utils.runs.printing_times import print_inference, print_precisions
from Utils.runs.reopen import reopen, was_given
from Utils.runs.saved import on_saved_networks
from Utils.training.masked_network import MaskedNetwork, build_dense
from Utils.training.precision_pairs import compare_precisions

EXPERIMENT = {
    "summary": "measure the inference time of saved runs again: --run FOLDER ...",
    "reads": ("saved networks", "time"),
    "writes": ("time.json",),
    "into_runs": True,
    "kind": "saved runs",
}

NAME = "time"
ENOUGH = 10.0  # seconds of the training steps, and of inference, in both precisions


def run(options: Options) -> None:
    """Measure `model.pt` of each `--run FOLDER` and write `time.json` there.

    A grid's folder stands for all its cells. A run of `--compact` is measured without its dead units, as it was trained. Batches
    have the run's own size unless the command gives another. With `--compare-precision`, training steps and inference in mixed
    precision are measured beside full precision; without it, an earlier comparison stays in `time.json`. The row of a cell in
    `grid.csv` gets the new numbers at once.

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
    network = _trained(replace(run, options=own))
    model = network.model
    dense = build_dense(own, run.data, run.device)
    times = inference_times(model, dense, run.data, own, run.precision)
    pairs = compare_precisions(network, ENOUGH) if options.compare_precision else later_numbers(folder)[0].get("precision_pairs")
    with annex:
        annex.finish(times | ({"precision_pairs": pairs} if pairs else {}))
    update_cell(folder, "inference", times)
    if options.compare_precision:
        update_cell(folder, "precision_pairs", pairs)
    print(shown(folder))
    print_inference(times)
    print_precisions(pairs if options.compare_precision else None)


def _trained(run: MaskedNetwork) -> MaskedNetwork:
    """Return the network as it was trained: with `--compact` without its dead units."""
    if not run.options.compact:
        return run
    small = compacted(run.model, run.prunables, run.data)
    return replace(run, model=small.model, prunables=small.prunables)
