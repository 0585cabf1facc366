"""One pass of a network over data, which is done alone or together with those of other networks."""

from __future__ import annotations

import itertools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import nn

from Models.shapes import image_format
from Utils.base import turns
from Utils.base.progress_bar import counter
from Utils.compute.graphs import Graphs
from Utils.compute.precision import Precision

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
Forward = Callable[[torch.Tensor], torch.Tensor]


class Source(NamedTuple):
    """What the batches of a pass depend on.

    Attributes:
        data: the identity of the dataset.
        part: the part of it: training, testing or held out.
        batch_size: the size of the batches.
        order: the seed, the phase and the epoch that order and augment them; empty for images in order.
        images: the number of images.
        decoded: whether processes decode the images anew in each pass.
    """

    data: int
    part: str
    batch_size: int
    order: tuple[object, ...] = ()
    images: int = 0
    decoded: bool = False


class Pass(ABC):
    """One pass over `batches`, step by step. Of passes that came at the same time, those of the lowest `rank` are done first.

    Attributes:
        model: the network.
        forward: computes the logits of images: the network, or its compiled form.
        batches: the batches, or the shares that this process has of batches of `sizes`.
        sizes: the sizes of the whole batches; 0 where the process has them whole.
        source: what the batches depend on; passes of equal sources may read the same ones. None: something else.
        precision: the precision of the steps.
        graphs: the graphs that replay them.
        steps: the number of steps done.
        threads: the number of CPU threads that compute a step.
        output: the streams for what a step prints: those of the thread that made the pass.
        counted: is called after each step, for the progress of the run.
    """

    rank = 0

    def __init__(
        self,
        model: nn.Module,
        batches: Batches,
        sizes: Iterable[int] | None = None,
        *,
        source: Source | None = None,
        precision: Precision | None = None,
        graphs: Graphs | None = None,
        forward: Forward | None = None,
    ) -> None:
        device = next(model.parameters()).device
        self.model, self.batches, self.source = model, batches, source
        self.forward = forward or model
        self.sizes = itertools.repeat(0) if sizes is None else sizes
        self.precision, self.graphs = precision or Precision(device), graphs or Graphs(device, wanted=False)
        self.steps, self.threads = 0, torch.get_num_threads()
        self.output = sys.stdout, sys.stderr
        self.counted = counter()
        self._layout = image_format(model)

    def go(self) -> None:
        """Go through all batches, together with the passes of other threads where they fit together."""
        if not turns.meet(self):
            self.alone()

    def alone(self) -> None:
        """Go through all batches without the others."""
        with self.precision.computing(), self.graphs.stream(), self.between():
            for (images, labels), whole in self.parts():
                self.step(images, labels, whole)

    def parts(self) -> Iterator[tuple[tuple[torch.Tensor, torch.Tensor], int]]:
        """Yield the batches with the sizes of the whole ones."""
        return zip(self.batches, self.sizes, strict=False)

    def between(self) -> AbstractContextManager[object]:
        """Return the context that all steps are in; those of several networks may be entered at once."""
        return nullcontext()

    @abstractmethod
    def step(self, images: torch.Tensor, labels: torch.Tensor, whole: int = 0) -> None:
        """Do the next step; `whole` is the size of a batch of which this process has a share."""
