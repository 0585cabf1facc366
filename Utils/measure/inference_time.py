"""Inference time of the network alone, beside the dense network.

The data is on the device, and the network is warmed up; the clock stops when the device has finished.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from Models.shapes import eval_mode, image_format
from Utils.compute.environment import device_text, load_average
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset

WARM_UP, REPEATS = 5, 30
LEAST = 6  # turns that a measurement with a limit of time has at least
PASSES, ENOUGH = 5, 5.0  # passes over the test set: at most 5, and none begins after 5 seconds
Call = Callable[[torch.Tensor], Any]


class TimingOptions(Protocol):
    """The options that inference times depend on."""

    test_batch_size: int
    compact: bool


def inference_times(
    model: nn.Module, dense: nn.Module, data: Dataset, options: TimingOptions, precision: Precision, repeats: int = REPEATS
) -> dict[str, Any]:
    """Measure the seconds of `model`, and of the `dense` network of its architecture, for the test set and for one batch.

    Masks do not change dense kernels: the two differ where dead units were removed (`--compact`), or by chance.

    Returns:
        `network` (masked or compact), `batch_size`, `total_seconds` and `dense_total_seconds` (the whole test set, forward
        passes alone, the median of `total_repeats`), `batch_seconds` and `dense_batch_seconds` (`median`, `q1`, `q3` of
        `repeats` passes over the first batch), `ratio` (of the seconds of both in each of these passes, likewise), `device`,
        `precision`, and `load`, the load average at `start` and `end`.
    """
    load = {"start": load_average()}
    networks = {"": model, "dense_": dense}
    device, layout = precision.device, image_format(model)
    calls = {name: _forward(network, precision) for name, network in networks.items()}

    def batches() -> Iterator[torch.Tensor]:
        return (batch.contiguous(memory_format=layout) for batch, _ in data.test_batches(options.test_batch_size))

    with precision.computing(), eval_mode(model), eval_mode(dense), torch.no_grad():
        first = next(batches())
        laps = interleaved(calls, first, device, repeats)
        totals = whole_passes(calls, batches, device)
    kind = "compact" if options.compact else "masked"
    summary: dict[str, Any] = {"network": kind, "batch_size": len(first), "repeats": repeats}
    summary["total_repeats"] = len(totals[""])
    summary["ratio"] = paired_ratio(laps[""], laps["dense_"])
    for name in networks:
        summary[f"{name}total_seconds"] = statistics.median(totals[name])
        summary[f"{name}batch_seconds"] = quartiles(laps[name])
    load["end"] = load_average()
    return summary | {"device": device_text(device), "precision": str(precision), "load": load}


def interleaved(
    calls: Mapping[str, Call], images: torch.Tensor, device: torch.device, repeats: int, enough: float = math.inf
) -> dict[str, list[float]]:
    """Time each of `repeats` calls in seconds, after a warm-up.

    The calls alternate in turn and back (A B, B A). A machine that becomes slower, or is slower every other time, thus slows all
    calls alike. After `enough` seconds no turn begins, unless fewer than `LEAST` were timed.
    """
    began = time.perf_counter()
    for turn in range(WARM_UP):
        if turn and time.perf_counter() - began > enough / 2:
            break
        for _, call in _in_turn(calls, turn):
            call(images)
    began = time.perf_counter()
    laps: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats):
        if turn >= LEAST and turn % 2 == 0 and time.perf_counter() - began > enough:
            break
        for name, call in _in_turn(calls, turn):
            laps[name].append(_seconds(call, images, device))
    return laps


def whole_passes(
    calls: Mapping[str, Call], batches: Callable[[], Iterable[torch.Tensor]], device: torch.device
) -> dict[str, list[float]]:
    """Time each call over all batches in seconds, for up to `PASSES` passes.

    The calls alternate batch by batch, in turn and back, as in `interleaved`.
    """
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
    """Return all calls; every other time from the last to the first."""
    return list(calls.items())[:: -1 if turn % 2 else 1]


def quartiles(numbers: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles."""
    q1, median, q3 = np.quantile(numbers, [0.25, 0.5, 0.75]).tolist()
    return {"median": median, "q1": q1, "q3": q3}


def paired_ratio(own: Sequence[float], other: Sequence[float]) -> dict[str, float]:
    """Return median and quartiles of the ratios of two calls' seconds, each turn of `interleaved` by itself."""
    return quartiles([one / two for one, two in zip(own, other, strict=True)])


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
