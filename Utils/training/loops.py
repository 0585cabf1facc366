"""One pass over data: an epoch of training, or the sums over a test set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import torch
from torch import nn

from Models.shapes import image_format
from Utils.compute import processes
from Utils.compute.precision import Precision

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    sizes: Iterable[int] | None = None,
    precision: Precision | None = None,
    after_step: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Train for one pass over `batches` and return the mean training loss, a float64 scalar that stays on the device.

    `after_step` is called with the number of each step, from 1, while the parameters still have its gradients.

    With `sizes`, `batches` are the shares that this process has of batches of these sizes. The mean over all processes of their
    gradients, and of their results, equals that of a single process.
    """
    model.train()
    layout = image_format(model)
    precision = precision or Precision(next(model.parameters()).device)
    total, count = 0.0, 0
    parts = zip(batches, itertools.repeat(0) if sizes is None else sizes, strict=False)
    for step, ((images, labels), whole) in enumerate(parts, 1):
        with precision.autocast():
            logits = model(images.contiguous(memory_format=layout)).float()
        loss = _share_of_mean(logits, labels, whole) if whole else nn.functional.cross_entropy(logits, labels)
        optimizer.zero_grad()
        precision.step(loss, optimizer)
        if after_step:
            after_step(step)
        size = whole or len(labels)
        total = total + loss.detach().double() * size
        count += size
    return total / count


def _share_of_mean(logits: torch.Tensor, labels: torch.Tensor, whole: int) -> torch.Tensor:
    """Return a share's part of the mean loss of a batch of `whole` images, times the number of processes.

    The factor is needed because the processes average their gradients and losses.
    """
    count = processes.share()[1]
    return nn.functional.cross_entropy(logits, labels, reduction="sum") * (count / whole)


@torch.no_grad()
def test_sums(model: nn.Module, batches: Batches, precision: Precision | None = None) -> tuple[torch.Tensor, int]:
    """Return the sums over a test set in eval mode, [3] on the device, and the number of images.

    The sums are the loss, the hits in the first, and the hits in the first five.
    """
    model.eval()
    layout = image_format(model)
    device = next(model.parameters()).device
    precision = precision or Precision(device)
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    count = 0
    for images, labels in batches:
        with precision.autocast():
            logits = model(images.contiguous(memory_format=layout)).float()
        hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        sums = sums + torch.stack([loss.double(), hits[:, 0].sum().double(), hits.sum().double()])
        count += len(labels)
    return sums, count


def evaluate(model: nn.Module, batches: Batches, precision: Precision | None = None) -> tuple[float, float, float]:
    """Return mean loss, top-1 and top-5 accuracy in percent over `batches` (with fewer than five classes, among all).

    Each of several processes passes its share of the batches, and all get the same numbers.
    """
    sums, images = test_sums(model, batches, precision)
    loss, top1, top5, count = processes.add_up([*sums.tolist(), images])
    return loss / count, 100.0 * top1 / count, 100.0 * top5 / count
