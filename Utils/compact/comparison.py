"""A masked network beside the compact one made from it: their predictions, their sizes, their speed."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from Models.shapes import eval_mode, image_format
from Utils.base.tensor_files import on_cpu
from Utils.compact.export import first
from Utils.data.dataset import Dataset
from Utils.measure.counting import multiply_adds
from Utils.measure.inference_time import REPEATS, interleaved, quartiles

ROUNDING = 1e-5  # share of an image's largest output by which float32 may round two equal networks apart
LARGE = 256  # images of the larger batch
PATIENCE, FEWEST = 60.0, 5  # seconds for the calls of one batch size, and the fewest calls


@dataclass(frozen=True)
class Agreement:
    """The agreement of two networks on a test set, in float32.

    Attributes:
        images: the number of images.
        differing: images for which the two predict different classes, without `ties`.
        ties: those for which one of the networks rates both classes equal up to rounding, so that the processor decides.
        largest_difference, largest_output: over all outputs, absolute.
        top1: accuracies in percent, of the masked and of the compact network.
    """

    images: int
    differing: int
    ties: int
    largest_difference: float
    largest_output: float
    top1: tuple[float, float]


@torch.no_grad()
def agreement(masked: nn.Module, compact: nn.Module, data: Dataset, batch_size: int) -> Agreement:
    """Compare two networks on the whole test set, without changing them."""
    layout, sums, peaks = image_format(masked), torch.zeros(4, dtype=torch.long), torch.zeros(2)
    total = math.ceil(data.test_size / batch_size)
    with eval_mode(masked), eval_mode(compact):
        for images, labels in tqdm(data.test_batches(batch_size), "comparing", total, leave=False, disable=None):
            images = images.contiguous(memory_format=layout)
            a, b = first(masked(images)).float(), first(compact(images)).float()
            ours, theirs = a.argmax(1, keepdim=True), b.argmax(1, keepdim=True)
            other = ours != theirs
            tie = other & (_tied(a, ours, theirs) | _tied(b, ours, theirs))
            counts = (other & ~tie, tie, ours == labels[:, None], theirs == labels[:, None])
            sums += torch.stack([found.sum() for found in counts]).cpu()
            peaks = torch.maximum(peaks, torch.stack([(a - b).abs().amax(), a.abs().amax()]).cpu())  # NaN stays NaN
    differing, ties, *hits = sums.tolist()
    accuracies = tuple(100 * count / data.test_size for count in hits)
    return Agreement(data.test_size, differing, ties, *peaks.tolist(), accuracies)


def _tied(outputs: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Tell whether two classes [B, 1] have equal `outputs` [B, classes] up to rounding: bool [B, 1]."""
    apart = (outputs.gather(1, one) - outputs.gather(1, other)).abs()
    return apart <= ROUNDING * outputs.abs().amax(1, keepdim=True)


def kept_units(large: nn.Module, small: nn.Module) -> dict[str, tuple[int, int]]:
    """Return (units in `small`, units in `large`) of each convolution and linear layer."""
    layers = ((name, module) for name, module in large.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))
    return {name: (len(small.get_submodule(name).weight), len(module.weight)) for name, module in layers}


def sizes(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """Return `parameters` without masks, `file_bytes` of the `state_dict`, and `macs` of one image as dense arithmetic."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "file_bytes": len(state_file(model)),
        "macs": multiply_adds(model, input_shape),
    }


def state_file(model: nn.Module) -> bytes:
    """Return the file of a network's `state_dict`, on the CPU, as bytes."""
    buffer = io.BytesIO()
    torch.save(on_cpu(dict(model.state_dict())), buffer)
    return buffer.getvalue()


def latencies(networks: Mapping[str, nn.Module], images: torch.Tensor) -> tuple[dict[str, dict[str, float]], int]:
    """Time each network on `images` [B, C, H, W]: median and quartiles in seconds, and the number of calls.

    The networks, which have to be in eval mode, are called in turn after a warm-up.
    """
    images = images.contiguous(memory_format=image_format(next(iter(networks.values()))))
    calls: dict[str, Callable[[torch.Tensor], Any]] = dict(networks)
    with torch.no_grad():
        began = time.perf_counter()
        for call in calls.values():
            float(first(call(images)).sum())  # waits for the device
        once = time.perf_counter() - began
        repeats = min(REPEATS, max(FEWEST, int(PATIENCE / once)))
        laps = interleaved(calls, images, images.device, repeats)
    return {name: quartiles(seconds) for name, seconds in laps.items()}, repeats
