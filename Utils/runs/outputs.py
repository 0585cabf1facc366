"""What runs that train measure of the network that they end with, as keys of their summaries."""

from __future__ import annotations

from typing import Any

from Utils.compute.precision import Precision
from Utils.compute.processes import is_first
from Utils.measure.inference_time import inference_times
from Utils.measure.record_trace import write_trace
from Utils.runs.folder import RunFolder
from Utils.trace.measure import measure
from Utils.training.network import Subject, build_dense


def inference_summary(subject: Subject, folder: RunFolder) -> dict[str, Any]:
    """`inference_times` of a run's network as a key of its summary; with `--save-trace` `trace.json` is written, and what it
    comes to is another.

    Where several processes train one network, the first one measures. `jobs` says that up to so many cells of a grid ran at once.
    """
    options, data, device = subject.options, subject.data, subject.device
    if not is_first():
        return {"inference": {}}
    found: dict[str, Any] = {}
    if options.save_trace:
        images, _ = next(iter(data.test_batches(options.test_batch_size)))
        precision = Precision.of(options, device)
        folder.write_file("trace.json", lambda file: write_trace(file, subject.model, images, precision))
        found = _trace_summary(folder)
    times = inference_times(subject.model, build_dense(options, data, device), data, options, device)
    if (jobs := getattr(options, "jobs", 1)) > 1:
        times["jobs"] = jobs
    return {"inference": times} | found


def _trace_summary(folder: RunFolder) -> dict[str, Any]:
    """What the step in the run's `trace.json` came to, as a key of its summary; empty where it cannot be told."""
    if not folder.saves:
        return {}
    try:
        step = measure(folder.path / "trace.json").summary
    except Exception as error:  # a summary is not worth a trained network
        print(f"NOTE: {folder.path / 'trace.json'} cannot be summed up: {type(error).__name__}: {' '.join(str(error).split())}")
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
