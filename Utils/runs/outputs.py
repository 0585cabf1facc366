"""The end of a run that prunes and trains: its files, its summary and its printed results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd
import torch

from Utils.base import turns
from Utils.base.text import one_line
from Utils.compute.clock import Clock
from Utils.compute.processes import is_first
from Utils.measure.inference_time import inference_times
from Utils.measure.record_trace import write_trace
from Utils.runs.folder import RunFolder
from Utils.runs.printing import print_levels, print_pruning, print_training, print_warnings
from Utils.runs.printing_times import print_inference, print_precisions
from Utils.runs.summary import pruning_summary, training_summary
from Utils.trace.measure import measure
from Utils.training.early_stopping import kept_row
from Utils.training.masked_network import MaskedNetwork, build_dense
from Utils.training.phase import Training
from Utils.training.precision_pairs import compare_precisions

State = dict[str, torch.Tensor]  # a `state_dict`


@dataclass(frozen=True)
class Results:
    """The tables of a run.

    Attributes:
        pre: the rows of the dense training.
        post: the rows of the training after the last pruning.
        pruning: the compression table of the last pruning, which is written already.
        levels: a row for each level of multishot.
        more: further keys of the summary.
    """

    pre: pd.DataFrame
    post: pd.DataFrame
    pruning: pd.DataFrame
    levels: pd.DataFrame | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Trained(Protocol):
    """The network that a run has trained: `Utils.compact.trained.TrainedNetwork`."""

    whole: MaskedNetwork
    network: MaskedNetwork

    def small_state(self) -> State | None:
        """Return the `state_dict` of the small network of `--compact`, if there is one."""

    def summary(self) -> dict[str, int]:
        """Return the keys of the summary about that network."""


def save_start(
    folder: RunFolder, device: torch.device, initial: State | None, dense: State | None, pre: pd.DataFrame, *, grows: bool = False
) -> None:
    """Begin the folder, unless it has begun, with the network at initialization, the dense one, and the rows of its training.

    `grows` says that later trainings add their rows.
    """
    folder.begin(device)
    folder.write_state("initial.pt", initial)
    folder.write_state("dense.pt", dense)
    save = folder.write_rows if grows else folder.write_table
    save("pre-train.csv", pre)


def save_and_print(folder: RunFolder, clock: Clock, trained: Trained, training: Training, results: Results) -> None:
    """Write the tables and the final state, measure the network, print the results, and finish the folder."""
    network, patience = trained.whole, training.patience
    folder.write_table("post-train.csv", results.post)
    if results.levels is not None:
        folder.write_table("levels.csv", results.levels)
    # Saved before the measurements: if one of them fails, the trained network is kept.
    folder.write_state("model.pt", network.model.state_dict())
    folder.write_state("model-compact.pt", trained.small_state())
    folder.write_state("optimizer.pt", training.optimizer.state_dict())
    folder.write_state("scheduler.pt", training.scheduler.state_dict())
    summary = pruning_summary(folder, network, results.pruning, clock) | training_summary(results.post, network.data, patience)
    if training.compiled.wanted:
        summary["compiled"] = training.compiled.active
    summary |= {"dense_kept_epoch": int(kept_row(results.pre, patience)["epoch"])} if patience else {}
    summary |= trained.summary() | dict(results.more) | _inference_summary(trained.network, folder)
    summary |= _precision_summary(trained.network)
    if turns.among_others():
        summary["stack"] = folder.options.stack
    print_training(results.pre, results.post, patience)
    if results.levels is not None:
        print_levels(results.levels)
    print_pruning(results.pruning, summary)
    print_inference(summary["inference"])
    print_precisions(summary.get("precision_pairs"))
    print_warnings(summary)
    folder.finish(summary)


def _inference_summary(network: MaskedNetwork, folder: RunFolder) -> dict[str, Any]:
    """Measure the inference time of a run's network, as a key of its summary.

    With `--save-trace` the profile of a batch is written as `trace.json`, and summed up under another key. If several processes
    train one network, the first one measures. `jobs` says that up to so many cells of a grid ran at once.
    """
    options, data, device = network.options, network.data, network.device
    if not is_first():
        return {"inference": {}}
    found: dict[str, Any] = {}
    if options.save_trace:
        images, _ = next(iter(data.test_batches(options.test_batch_size)))
        folder.write_file("trace.json", lambda file: write_trace(file, network.model, images, network.precision))
        found = _trace_summary(folder)
    times = inference_times(network.model, build_dense(options, data, device), data, options, network.precision)
    if options.jobs > 1:
        times["jobs"] = options.jobs
    return {"inference": times} | found


def _precision_summary(network: MaskedNetwork) -> dict[str, Any]:
    """Measure mixed beside full precision, as a key of the summary of a run in mixed precision; empty for other runs.

    If it fails, as where the memory does not hold copies of the network, a NOTE says so: the run is done without it.
    """
    if network.precision.dtype == torch.float32 or not is_first():
        return {}
    try:
        found = compare_precisions(network)
    except Exception as error:  # a failed comparison must not end the run of a trained network
        print(f"NOTE: the precisions cannot be compared: {type(error).__name__}: {one_line(str(error))}")
        return {}
    if network.options.jobs > 1:
        found["jobs"] = network.options.jobs
    return {"precision_pairs": found}


def _trace_summary(folder: RunFolder) -> dict[str, Any]:
    """Sum up the step in the run's `trace.json` as a key of its summary; empty if that fails."""
    if not folder.saves:
        return {}
    try:
        step = measure(folder.path / "trace.json").summary
    except Exception as error:  # a failed summary must not end the run of a trained network
        print(f"NOTE: {folder.path / 'trace.json'} cannot be summed up: {type(error).__name__}: {one_line(str(error))}")
        return {}
    busy, convolution = step["busy"], step["convolution"]["forward"]
    return {
        "trace": {
            "wall_ms": step["step"]["wall_ms"],
            "busy_ms": busy["ms"],
            "busy_share_of_step": busy["share_of_step"],
            "convolution_ms": convolution["ms"],
            "convolution_share_of_step": convolution["share_of_step"],
            "convolution_share_of_busy": convolution["share_of_busy"],
        }
    }
