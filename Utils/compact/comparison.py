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

ROUNDING = 1e-5  # of an image's largest output: what float32 may lose between two networks that compute the same
LARGE = 256  # images of the larger batch
PATIENCE, FEWEST = 60.0, 5  # seconds that the calls of one batch size may take; fewer repeats then, but so many


@dataclass(frozen=True)
class Agreement:
    """How two networks agree on a test set, in float32.

    Attributes:
        images: how many there are.
        differing: images whose largest output is that of another class, without `ties`.
        ties: those where one of the networks gives both classes the same up to rounding, so that the processor decides.
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
    """Compare two networks on the whole test set; they are left as they were."""
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
    """Whether two classes [B, 1] have the same of `outputs` [B, classes] up to rounding: bool [B, 1]."""
    apart = (outputs.gather(1, one) - outputs.gather(1, other)).abs()
    return apart <= ROUNDING * outputs.abs().amax(1, keepdim=True)


def kept_units(large: nn.Module, small: nn.Module) -> dict[str, tuple[int, int]]:
    """Of each convolution and linear layer of `large` the units that `small` has, and those that it had."""
    layers = ((name, module) for name, module in large.named_modules() if isinstance(module, nn.Conv2d | nn.Linear))
    return {name: (len(small.get_submodule(name).weight), len(module.weight)) for name, module in layers}


def sizes(model: nn.Module, input_shape: tuple[int, ...]) -> dict[str, int]:
    """`parameters`, masks not counted, `file_bytes` of the `state_dict`, and `macs` of one image, as dense arithmetic."""
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "file_bytes": len(state_file(model)),
        "macs": multiply_adds(model, input_shape),
    }


def state_file(model: nn.Module) -> bytes:
    """The file of a network's `state_dict`, on the CPU."""
    buffer = io.BytesIO()
    torch.save(on_cpu(dict(model.state_dict())), buffer)
    return buffer.getvalue()


def latencies(networks: Mapping[str, nn.Module], images: torch.Tensor) -> tuple[dict[str, dict[str, float]], int]:
    """Median and quartiles of the seconds that each network takes for `images` [B, C, H, W], and of how many calls.

    The networks, which have to be in eval mode, are called in turn, warmed up.
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
