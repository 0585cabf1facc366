"""One pass over data: an epoch of training, or the sums over a test set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import nn

from Models.masking import trainable_parameters
from Models.shapes import image_format
from Utils.compute import processes
from Utils.compute.graphs import Graphs
from Utils.compute.precision import Precision
from Utils.training.batch_counts import counting_batches

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    sizes: Iterable[int] | None = None,
    precision: Precision | None = None,
    after_step: Callable[[int], None] | None = None,
    graphs: Graphs | None = None,
) -> torch.Tensor:
    """Train for one pass over `batches` and return the mean training loss, a float64 scalar that stays on the device.

    `after_step` is called with the number of each step, from 1, while the parameters still have its gradients. With `graphs`,
    those of earlier epochs of the same model and optimizer, steps on a card are replayed; the numbers are the same.

    With `sizes`, `batches` are the shares that this process has of batches of these sizes. The mean over all processes of their
    gradients, and of their results, equals that of a single process.
    """
    model.train()
    layout = image_format(model)
    device = next(model.parameters()).device
    precision, graphs = precision or Precision(device), graphs or Graphs(device, wanted=False)
    total, count = graphs.sums("train"), 0
    parameters = trainable_parameters(model) if after_step else ()

    def take_step(images: torch.Tensor, labels: torch.Tensor, whole: int = 0) -> None:
        with precision.autocast():
            logits = model(images).float()
        loss = _share_of_mean(logits, labels, whole) if whole else nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        precision.step(loss, optimizer)
        total.add_(loss.detach().double() * (whole or len(labels)))

    with precision.computing(), graphs.stream(), graphs.rates(optimizer), counting_batches(model) as counted:
        parts = zip(batches, itertools.repeat(0) if sizes is None else sizes, strict=False)
        for step, ((images, labels), whole) in enumerate(parts, 1):
            work = partial(take_step, whole=whole) if whole else take_step
            graphs.run("train", work, images.contiguous(memory_format=layout), labels, parameters)
            counted.steps = step
            if after_step:
                after_step(step)
            count += whole or len(labels)
    return total[0] / count


def _share_of_mean(logits: torch.Tensor, labels: torch.Tensor, whole: int) -> torch.Tensor:
    """Return a share's part of the mean loss of a batch of `whole` images, times the number of processes.

    The factor is needed because the processes average their gradients and losses.
    """
    count = processes.share()[1]
    return nn.functional.cross_entropy(logits, labels, reduction="sum") * (count / whole)


@torch.no_grad()
def test_sums(
    model: nn.Module, batches: Batches, precision: Precision | None = None, graphs: Graphs | None = None
) -> tuple[torch.Tensor, int]:
    """Return the sums over a test set in eval mode, [3] on the device, and the number of images.

    The sums are the loss, the hits in the first, and the hits in the first five. `graphs` is that of `train_epoch`; the next
    pass with it writes to the same sums.
    """
    model.eval()
    layout = image_format(model)
    device = next(model.parameters()).device
    precision, graphs = precision or Precision(device), graphs or Graphs(device, wanted=False)
    sums, count = graphs.sums("test", 3), 0

    def add(images: torch.Tensor, labels: torch.Tensor) -> None:
        with precision.autocast():
            logits = model(images).float()
        hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        sums.add_(torch.stack([loss.double(), hits[:, 0].sum().double(), hits.sum().double()]))

    with precision.computing(), graphs.stream():
        for images, labels in batches:
            graphs.run("test", add, images.contiguous(memory_format=layout), labels)
            count += len(labels)
    return sums, count


def evaluate(
    model: nn.Module, batches: Batches, precision: Precision | None = None, graphs: Graphs | None = None
) -> tuple[float, float, float]:
    """Return mean loss, top-1 and top-5 accuracy in percent over `batches` (with fewer than five classes, among all).

    Each of several processes passes its share of the batches, and all get the same numbers.
    """
    sums, images = test_sums(model, batches, precision, graphs)
    loss, top1, top5, count = processes.add_up([*sums.tolist(), images])
    return loss / count, 100.0 * top1 / count, 100.0 * top5 / count
