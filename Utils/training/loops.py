"""One pass over data: an epoch of training, or the sums over a test set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from Models.masking import trainable_parameters
from Utils.compute import processes
from Utils.compute.graphs import Graphs
from Utils.compute.precision import Precision
from Utils.training.batch_counts import counting_batches
from Utils.training.passes import Batches, Forward, Pass, Source


class TrainingPass(Pass):
    """An epoch of training: of each batch the mean loss, its gradients, a step of `optimizer`.

    Attributes:
        optimizer: the optimizer of the network.
        after_step: is called with the number of each step, from 1, while the parameters still have its gradients.
        total: the sum of the losses over the images so far, float64 [1] on the device.
        images: the number of these images.
    """

    rank = 1

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: Batches,
        sizes: Iterable[int] | None = None,
        *,
        after_step: Callable[[int], None] | None = None,
        source: Source | None = None,
        precision: Precision | None = None,
        graphs: Graphs | None = None,
        forward: Forward | None = None,
    ) -> None:
        model.train()
        super().__init__(model, batches, sizes, source=source, precision=precision, graphs=graphs, forward=forward)
        self.optimizer, self.after_step = optimizer, after_step
        self.total, self.images = self.graphs.sums("train"), 0
        self._parameters = trainable_parameters(model) if after_step else ()

    @contextmanager
    def between(self) -> Iterator[None]:
        """Hold learning rates and BatchNorm's counters in the form that steps of this epoch need."""
        with self.graphs.rates(self.optimizer), counting_batches(self.model) as counted:
            yield
            counted.steps = self.steps

    def step(self, images: torch.Tensor, labels: torch.Tensor, whole: int = 0) -> None:
        """Take a step on a batch."""
        work = partial(self._take, whole=whole) if whole else self._take
        self.graphs.run("train", work, images.contiguous(memory_format=self._layout), labels, self._parameters)
        self.steps += 1
        if self.after_step:
            self.after_step(self.steps)
        self.images += whole or len(labels)
        self.counted()

    def _take(self, images: torch.Tensor, labels: torch.Tensor, whole: int = 0) -> None:
        with self.precision.autocast():
            logits = self.forward(images).float()
        loss = _share_of_mean(logits, labels, whole) if whole else nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        self.precision.step(loss, self.optimizer)
        self.total.add_(loss.detach().double() * (whole or len(labels)))

    def mean(self) -> torch.Tensor:
        """Return the mean loss over all images, a float64 scalar that stays on the device."""
        return self.total[0] / self.images


class EvaluationPass(Pass):
    """The sums over a test set in eval mode: the loss, the hits in the first, and the hits in the first five."""

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        *,
        source: Source | None = None,
        precision: Precision | None = None,
        graphs: Graphs | None = None,
        forward: Forward | None = None,
    ) -> None:
        model.eval()
        super().__init__(model, batches, source=source, precision=precision, graphs=graphs, forward=forward)
        self.sums, self.images = self.graphs.sums("test", 3), 0

    @torch.no_grad()
    def step(self, images: torch.Tensor, labels: torch.Tensor, whole: int = 0) -> None:
        """Add a batch."""
        self.graphs.run("test", self._add, images.contiguous(memory_format=self._layout), labels)
        self.images += len(labels)
        self.counted()

    def _add(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        with self.precision.autocast():
            logits = self.forward(images).float()
        hits = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
        self.sums.add_(torch.stack([loss.double(), hits[:, 0].sum().double(), hits.sum().double()]))


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    sizes: Iterable[int] | None = None,
    precision: Precision | None = None,
    after_step: Callable[[int], None] | None = None,
    graphs: Graphs | None = None,
    source: Source | None = None,
    forward: Forward | None = None,
) -> torch.Tensor:
    """Train for one pass over `batches` and return the mean training loss, a float64 scalar that stays on the device.

    `after_step` is called with the number of each step, from 1, while the parameters still have its gradients. With `graphs`,
    those of earlier epochs of the same model and optimizer, steps on a card are replayed; the numbers are the same. So they are
    where other threads train at the same time (see `Utils/base/turns.py`); `source` says what the batches depend on.
    `forward` computes the logits of images in place of `model`.

    With `sizes`, `batches` are the shares that this process has of batches of these sizes. The mean over all processes of their
    gradients, and of their results, equals that of a single process.
    """
    epoch = TrainingPass(
        model, optimizer, batches, sizes, after_step=after_step, source=source, precision=precision, graphs=graphs,
        forward=forward,
    )  # fmt: skip
    epoch.go()
    return epoch.mean()


def _share_of_mean(logits: torch.Tensor, labels: torch.Tensor, whole: int) -> torch.Tensor:
    """Return a share's part of the mean loss of a batch of `whole` images, times the number of processes.

    The factor is needed because the processes average their gradients and losses.
    """
    count = processes.share()[1]
    return nn.functional.cross_entropy(logits, labels, reduction="sum") * (count / whole)


def test_sums(
    model: nn.Module,
    batches: Batches,
    precision: Precision | None = None,
    graphs: Graphs | None = None,
    source: Source | None = None,
    forward: Forward | None = None,
) -> tuple[torch.Tensor, int]:
    """Return the sums over a test set in eval mode, [3] on the device, and the number of images.

    The sums are the loss, the hits in the first, and the hits in the first five. `graphs`, `source` and `forward` are
    those of `train_epoch`; the next pass with these graphs writes to the same sums.
    """
    test = EvaluationPass(model, batches, source=source, precision=precision, graphs=graphs, forward=forward)
    test.go()
    return test.sums, test.images


def evaluate(
    model: nn.Module,
    batches: Batches,
    precision: Precision | None = None,
    graphs: Graphs | None = None,
    source: Source | None = None,
    forward: Forward | None = None,
) -> tuple[float, float, float]:
    """Return mean loss, top-1 and top-5 accuracy in percent over `batches` (with fewer than five classes, among all).

    Each of several processes passes its share of the batches, and all get the same numbers.
    """
    sums, images = test_sums(model, batches, precision, graphs, source, forward)
    loss, top1, top5, count = processes.add_up([*sums.tolist(), images])
    return loss / count, 100.0 * top1 / count, 100.0 * top5 / count
