"""A network in training on the card, called a cell, whose step runs eagerly or as one CUDA graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.gpu.card import Card, Work
from benchmarks.gpu.sizes import Case
from benchmarks.rows import network
from Models.masking import add_masks, apply_masks, hold_masks
from Utils.compute.clock import Clock
from Utils.compute.compilation import Compiled
from Utils.compute.precision import Precision
from Utils.training.optimizers import make_optimizer

DENSITY = 0.1  # of the masks
WARM_UP = 3  # steps
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


@dataclass(frozen=True)
class Variant:
    """The arithmetic of a step: whether TF32 is allowed, whether it autocasts to bfloat16, the memory format, and `--compile`."""

    tf32: bool
    half: bool
    layout: str
    compiled: bool = False

    def labels(self) -> dict[str, str]:
        """Return the columns that name the variant."""
        return {"precision": "bf16 autocast" if self.half else "TF32" if self.tf32 else "float32", "layout": self.layout}


PRECISIONS = ((False, False), (True, False), (True, True))  # TF32, bfloat16


def variants(case: Case) -> list[Variant]:
    """Return all variants of a case; a network without convolutions has one memory format."""
    layouts = ["contiguous"] if case.network == "fc" else list(LAYOUTS)
    return [Variant(tf32, half, layout) for tf32, half in PRECISIONS for layout in layouts]


class Cell:
    """A masked network, its optimizer and a fixed batch, on its own stream.

    A step is that of `Utils.training.loops.train_epoch`, with the learning rate as a tensor on the device, which a graph needs.
    """

    def __init__(self, card: Card, case: Case, variant: Variant) -> None:
        self.card, self.batch, layout = card, case.batch, LAYOUTS[variant.layout]
        self.model = network(case.network)
        self.prunables = add_masks(self.model)
        draws = torch.Generator().manual_seed(1)
        for p in self.prunables:
            p.mask.copy_((torch.rand(p.mask.shape, generator=draws) < DENSITY).float())
        self.model.to(card.device, memory_format=layout).train()  # moves the masks too, before other objects refer to them
        apply_masks(self.prunables)
        self.optimizer = make_optimizer(self.model, case.optimizer, 0.001, 0.0)
        for group in self.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=card.device)
        hold_masks(self.optimizer, self.prunables)
        images = torch.randn(self.batch, *case.shape, generator=draws)
        self.images = images.to(card.device, memory_format=layout)
        self.targets = torch.randint(10, (self.batch,), generator=draws).to(card.device)
        self.loss = torch.zeros((), dtype=torch.float64, device=card.device)
        self.precision = Precision(card.device, torch.bfloat16 if variant.half else torch.float32)
        self.clock = Clock(card.device)
        self.forward = Compiled(self.model, self.clock, wanted=variant.compiled)
        self.stream = card.stream()
        card.wait()  # the lines above ran on the default stream

    def step(self) -> None:
        """Compute forward, loss and backward, step the optimizer, apply masks, and add to the sum of the loss."""
        with self.precision.autocast():
            logits = self.forward(self.images).float()
        loss = nn.functional.cross_entropy(logits, self.targets)
        self.optimizer.zero_grad(set_to_none=True)
        self.precision.step(loss, self.optimizer)
        self.loss += loss.detach().double() * self.batch

    def steps(self, count: int) -> None:
        """Take eager steps on the cell's stream, and wait for them."""
        with self.card.on(self.stream):
            for _ in range(count):
                self.step()
        self.card.wait()

    def capture(self) -> Work:
        """Capture a step as a graph and return the replay.

        Before that, take `WARM_UP` steps, which make the optimizer's state.
        """
        groups = [group for group in self.optimizer.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = True  # Adam cannot be captured without it, and warns with it outside of a capture
        try:
            return self.card.capture(self.step, self.stream)
        finally:
            for group in groups:
                group["capturable"] = False

    def tensors(self) -> list[torch.Tensor]:
        """Return all tensors that a step changes: parameters, statistics, optimizer's state, sum of the loss (and the masks)."""
        kept = [t for state in self.optimizer.state.values() for t in state.values() if isinstance(t, torch.Tensor)]
        return [*(p.detach() for p in self.model.parameters()), *self.model.buffers(), *kept, self.loss]

    def state(self) -> list[torch.Tensor]:
        """Return copies of `tensors`."""
        self.card.wait()
        return [t.clone() for t in self.tensors()]

    def put_back(self, state: list[torch.Tensor]) -> None:
        """Restore `state` in place, so that a graph continues from it."""
        self.card.wait()
        for tensor, before in zip(self.tensors(), state, strict=True):
            tensor.copy_(before)
        self.card.wait()

    def check_masks(self) -> None:
        """Check that pruned weights are zero.

        Raises:
            RuntimeError: some are not.
        """
        if any(bool((p.weight[p.mask == 0] != 0).any()) for p in self.prunables):
            raise RuntimeError("pruned weights are not zero")


def difference(some: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """Return the largest difference between two states: 0 if all numbers are equal, infinite if one is not finite."""
    worst = 0.0
    for a, b in zip(some, others, strict=True):
        if not torch.equal(a, b):
            worst = max(worst, float((a.double() - b.double()).abs().nan_to_num(torch.inf).max()))
    return worst
