"""Inference time of the network alone: data on the device, warmed up, waited for, beside the dense network."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from Models.shapes import eval_mode
from Utils.data.datasets import Dataset
from Utils.distributed import is_first
from Utils.environment import device_text
from Utils.precision import Precision
from Utils.results import RunFolder
from Utils.setup import Subject, build_model
from Utils.tracing import write_trace
from Utils.training import image_format

WARM_UP, REPEATS = 5, 30


def inference_times(
    model: nn.Module, data: Dataset, options: argparse.Namespace, device: torch.device, repeats: int = REPEATS
) -> dict[str, Any]:
    """Seconds that `model` takes for the test set and for one batch, and the dense network of the same architecture beside it.

    Masks do not change dense kernels: the two differ where dead units were removed (`--compact`) or by chance.

    Returns:
        `network` (masked or compact), `batch_size`, `total_seconds` and `dense_total_seconds` (the whole test set, forward passes alone), `batch_seconds` and
        `dense_batch_seconds` (`median`, `q1`, `q3` of `repeats` passes over the first batch), `device` and `precision`.
    """
    with torch.random.fork_rng(devices=[]):
        dense = build_model(options, data).to(device)
    networks = {"": model, "dense_": dense}
    precision = Precision.of(options, device)
    layout = image_format(model)
    calls = {name: _forward(network, precision) for name, network in networks.items()}
    images = (batch.contiguous(memory_format=layout) for batch, _ in data.test_batches(options.test_batch_size))
    with eval_mode(model), eval_mode(dense), torch.no_grad():
        first = next(images)
        laps = interleaved(calls, first, device, repeats)
        totals = _over(calls, itertools.chain([first], images), device)
    kind = "compact" if getattr(options, "compact", False) else "masked"
    summary: dict[str, Any] = {"network": kind, "batch_size": len(first), "repeats": repeats}
    for name in networks:
        summary[f"{name}total_seconds"] = totals[name]
        summary[f"{name}batch_seconds"] = quartiles(laps[name])
    return summary | {"device": device_text(device), "precision": str(precision)}


def inference_summary(subject: Subject, folder: RunFolder) -> dict[str, Any]:
    """`inference_times` of a run's network as the key of its summary; with `--save-trace`, `trace.json` is written too.

    Where several processes train one network, the first one measures.
    """
    options, data, device = subject.options, subject.data, subject.device
    if not is_first():
        return {"inference": {}}
    if options.save_trace:
        images, _ = next(iter(data.test_batches(options.test_batch_size)))
        precision = Precision.of(options, device)
        folder.write_file("trace.json", lambda file: write_trace(file, subject.model, images, precision))
    return {"inference": inference_times(subject.model, data, options, device)}


def interleaved(
    calls: Mapping[str, Callable[[torch.Tensor], Any]], images: torch.Tensor, device: torch.device, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each of `repeats` calls, taken in turn so that a slower machine is slower for all; warmed up first."""
    for _ in range(WARM_UP):
        for call in calls.values():
            call(images)
    laps: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            laps[name].append(_seconds(call, images, device))
    return laps


def quartiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    q1, median, q3 = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    return {"median": median, "q1": q1, "q3": q3}


def _forward(network: nn.Module, precision: Precision) -> Callable[[torch.Tensor], Any]:
    def call(images: torch.Tensor) -> Any:
        with precision.autocast():
            return network(images)

    return call


def _over(
    calls: Mapping[str, Callable[[torch.Tensor], Any]], batches: Iterable[torch.Tensor], device: torch.device
) -> dict[str, float]:
    """Seconds of each call over all batches, in turn."""
    totals = dict.fromkeys(calls, 0.0)
    for images in batches:
        for name, call in calls.items():
            totals[name] += _seconds(call, images, device)
    return totals


def _seconds(call: Callable[[torch.Tensor], Any], images: torch.Tensor, device: torch.device) -> float:
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda _device: None
    wait(device)
    began = time.perf_counter()
    call(images)
    wait(device)
    return time.perf_counter() - began
