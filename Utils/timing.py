"""Inference time of the network alone: data on the device, warmed up, waited for, beside the dense network."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from Models.shapes import eval_mode
from Utils.data.datasets import Dataset
from Utils.distributed import is_first
from Utils.environment import device_text
from Utils.epochs import image_format
from Utils.precision import Precision
from Utils.results import RunFolder
from Utils.setup import Subject, build_model
from Utils.trace.summary import measure
from Utils.tracing import write_trace

WARM_UP, REPEATS = 5, 30
PASSES, ENOUGH = 5, 5.0  # over the test set: at most so many, and none begun after so many seconds
Call = Callable[[torch.Tensor], Any]


def inference_times(
    model: nn.Module, data: Dataset, options: argparse.Namespace, device: torch.device, repeats: int = REPEATS
) -> dict[str, Any]:
    """Seconds that `model` takes for the test set and for one batch, and the dense network of the same architecture beside it.

    Masks do not change dense kernels: the two differ where dead units were removed (`--compact`) or by chance.

    Returns:
        `network` (masked or compact), `batch_size`, `total_seconds` and `dense_total_seconds` (the whole test set, forward
        passes alone, the median of `total_repeats`), `batch_seconds` and `dense_batch_seconds` (`median`, `q1`, `q3` of `repeats`
        passes over the first batch), `device` and `precision`.
    """
    with torch.random.fork_rng(devices=[]):
        dense = build_model(options, data).to(device)
    networks = {"": model, "dense_": dense}
    precision = Precision.of(options, device)
    layout = image_format(model)
    calls = {name: _forward(network, precision) for name, network in networks.items()}

    def batches() -> Iterator[torch.Tensor]:
        return (batch.contiguous(memory_format=layout) for batch, _ in data.test_batches(options.test_batch_size))

    with eval_mode(model), eval_mode(dense), torch.no_grad():
        first = next(batches())
        laps = interleaved(calls, first, device, repeats)
        totals = whole_passes(calls, batches, device)
    kind = "compact" if getattr(options, "compact", False) else "masked"
    summary: dict[str, Any] = {"network": kind, "batch_size": len(first), "repeats": repeats}
    summary["total_repeats"] = len(totals[""])
    for name in networks:
        summary[f"{name}total_seconds"] = statistics.median(totals[name])
        summary[f"{name}batch_seconds"] = quartiles(laps[name])
    return summary | {"device": device_text(device), "precision": str(precision)}


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
    times = inference_times(subject.model, data, options, device)
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


def interleaved(
    calls: Mapping[str, Call], images: torch.Tensor, device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each of `repeats` calls, in turn and back (A B, B A) so that a slower machine, or one that is slower every
    other time, is so for all; warmed up first."""
    for turn in range(WARM_UP):
        for _, call in _in_turn(calls, turn):
            call(images)
    laps: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        for name, call in _in_turn(calls, turn):
            laps[name].append(_seconds(call, images, device))
    return laps


def whole_passes(
    calls: Mapping[str, Call], batches: Callable[[], Iterable[torch.Tensor]], device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each call over all batches, of up to `PASSES` passes; batch by batch in turn and back, as `interleaved`."""
    began = time.perf_counter()
    totals: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(PASSES):
        if number and time.perf_counter() - began > ENOUGH:
            break
        laps = dict.fromkeys(calls, 0.0)
        for turn, images in enumerate(batches(), start=number):
            for name, call in _in_turn(calls, turn):
                laps[name] += _seconds(call, images, device)
        for name, seconds in laps.items():
            totals[name].append(seconds)
    return totals


def _in_turn(calls: Mapping[str, Call], turn: int) -> Iterable[tuple[str, Call]]:
    """All calls, every other time from the last to the first."""
    return list(calls.items())[:: -1 if turn % 2 else 1]


def quartiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    q1, median, q3 = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    return {"median": median, "q1": q1, "q3": q3}


def _forward(network: nn.Module, precision: Precision) -> Call:
    def call(images: torch.Tensor) -> Any:
        with precision.autocast():
            return network(images)

    return call


def _seconds(call: Call, images: torch.Tensor, device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda _device: None
    wait(device)
    began = time.perf_counter()
    call(images)
    wait(device)
    return time.perf_counter() - began
