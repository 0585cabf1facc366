"""CUDA graphs: work on a card that is recorded once and then replayed as a whole.

A replay runs the recorded kernels on the same memory, so that its numbers have the same bits. It saves the time in which the
processor starts each kernel, which for small networks is most of a step.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from Utils.base.text import one_line

WARM_UP = 3  # real runs before a capture: the kernels are loaded, and the optimizer has made its state
LONGEST = 200  # letters of a reason
Work = Callable[[torch.Tensor, torch.Tensor], None]


def can_capture(device: torch.device) -> bool:
    """Tell whether work on `device` can be captured: on CUDA only."""
    return device.type == "cuda"


class Capture:
    """A recorded piece of work on a card.

    Args:
        work: is called once, now, and runs nothing; only its kernels are noted.
        stream: the stream on which the work ran before.
        pool: the memory of earlier captures that never run at the same time; None for memory of its own.
    """

    def __init__(self, work: Callable[[], None], stream: torch.cuda.Stream | None, pool: Any) -> None:
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as one that pins memory, go on while this one captures.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            work()
        self.pool, self.replay = graph.pool(), graph.replay


@dataclass
class _Shape:
    """A kind of work on batches of one shape: how often it ran, and its capture with the tensors that a replay reads."""

    runs: int = 0
    capture: Capture | None = None
    images: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    gradients: list[torch.Tensor | None] = field(default_factory=list)


class Graphs:
    """The graphs of one training: for each kind of work and each shape of a batch one, after the first runs.

    Captured work may write to tensors that outlast it only, such as parameters and `sums`. Runs before a capture are real ones,
    so that nothing has to be put back. What cannot be captured runs without a graph from then on, which a NOTE says. So does a
    network that draws random numbers or counts on the processor, because a replay would repeat the draw of its capture.

    Args:
        device: the device of the network.
        model: the network; without it nothing is captured.
        wanted: whether graphs are wanted (`--no-graph`) and fit the training.
    """

    def __init__(self, device: torch.device, model: nn.Module | None = None, wanted: bool = True) -> None:
        self.device, self._model = device, model
        wanted = wanted and model is not None
        self.active = wanted and can_capture(device)
        self._stream = torch.cuda.Stream(device) if self.active and device.type == "cuda" else None
        self._pool: Any = None
        self._shapes: dict[tuple[Any, ...], _Shape] = {}
        self._sums: dict[str, torch.Tensor] = {}
        self._rates: dict[int, torch.Tensor] = {}

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Run work on the stream of these graphs. cuBLAS keeps memory for each stream, so that captures must not share one."""
        if self._stream is None:
            yield
            return
        outer = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(outer)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            outer.wait_stream(self._stream)

    @contextmanager
    def beside(self, *tensors: torch.Tensor) -> Iterator[None]:
        """Run work on the stream of these graphs, after what was begun on the current stream, which does not wait for it.

        `tensors` of the current stream stay until the work that reads them is done.
        """
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self.device))
        for tensor in tensors:
            tensor.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            yield

    def mark(self) -> torch.cuda.Event | None:
        """Return a mark in the work begun so far, for which the processor can wait; None without a stream."""
        return None if self._stream is None else self._stream.record_event()

    def join(self) -> None:
        """Let the current stream wait for the work that was begun on the stream of these graphs."""
        if self._stream is not None:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)

    def sums(self, kind: str, count: int = 1) -> torch.Tensor:
        """Return the sums that work of `kind` adds to, float64 [count] on the device, set to zero."""
        if kind not in self._sums:
            self._sums[kind] = torch.zeros(count, dtype=torch.float64, device=self.device)
        return self._sums[kind].zero_()

    @contextmanager
    def rates(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Hold the learning rates of a fused optimizer on a card in tensors there, which captured and other steps read alike.

        A capture would keep a number as it was. Afterwards the groups have their numbers again, as schedules and checkpoints
        expect. Other optimizers, and those on a CPU, are left alone.
        """
        groups = optimizer.param_groups if can_capture(self.device) and optimizer.defaults.get("fused") else []
        before = [{key: group[key] for key in ("lr", "capturable") if key in group} for group in groups]
        optimizer._warned_capturable_if_run_uncaptured = True  # steps before a capture are meant
        for place, group in enumerate(groups):
            rate = self._rates.setdefault(place, torch.zeros((), device=self.device))
            group |= {"lr": rate.fill_(group["lr"])} | ({"capturable": True} if "capturable" in group else {})
        try:
            yield
        finally:
            for group, numbers in zip(groups, before, strict=True):
                group |= numbers

    def run(
        self,
        kind: str,
        work: Work,
        images: torch.Tensor,
        labels: torch.Tensor,
        parameters: Sequence[torch.nn.Parameter] = (),
    ) -> None:
        """Do `work` on a batch, by a replay where it was captured; afterwards `parameters` have the gradients of this batch.

        The first shape of a kind runs `WARM_UP` times before its capture, others once.
        """
        if not self.active:
            return work(images, labels)
        key = (kind, *images.shape)
        first = not any(other[0] == kind for other in self._shapes)
        shape = self._shapes.setdefault(key, _Shape(runs=0 if first else WARM_UP - 1))
        if shape.runs < WARM_UP:
            shape.runs += 1
            return self._warm_up(work, images, labels)
        if shape.capture is None and not self._captured(shape, work, images, labels, parameters):
            return work(images, labels)
        shape.images.copy_(images)
        shape.labels.copy_(labels)
        shape.capture.replay()
        for parameter, gradient in zip(parameters, shape.gradients, strict=False):
            parameter.grad = gradient
        return None

    def _warm_up(self, work: Work, images: torch.Tensor, labels: torch.Tensor) -> None:
        before = _on_processor(self._model)
        work(images, labels)
        if _on_processor(self._model) != before:
            self._give_up("it draws random numbers or counts on the processor")

    def forget(self) -> None:
        """Forget what was captured, as from now on the work is done by other kernels."""
        self._shapes.clear()
        self._pool = None

    def _give_up(self, reason: str) -> None:
        self.active = False
        self.forget()
        print(f"NOTE: steps run without a CUDA graph, because this network cannot be captured: {reason}")

    def _captured(
        self, shape: _Shape, work: Work, images: torch.Tensor, labels: torch.Tensor, parameters: Sequence[torch.nn.Parameter]
    ) -> bool:
        """Capture `work` for batches of this shape; if that fails, use no graphs from now on."""
        shape.images, shape.labels = images.clone(), labels.clone()
        for parameter in parameters:
            parameter.grad = None  # gradients are made within the capture, so that a replay writes them anew
        try:
            shape.capture = Capture(lambda: work(shape.images, shape.labels), self._stream, self._pool)
        except Exception as error:  # of a user's network anything; what was recorded has not run
            self._give_up(one_line(str(error))[:LONGEST])
            return False
        self._pool = shape.capture.pool
        shape.gradients = [parameter.grad for parameter in parameters]
        return True


def draws_numbers(model: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Tell whether `model`, on the CPU, draws random numbers or counts on the processor when it trains, as dropout does.

    Its statistics change. A network that fails on two black images counts as one that does.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = _on_processor(model.train())
        try:
            model(torch.zeros(2, *input_shape))
        except Exception:  # of a user's network anything; its run will say what fails
            return True
        return _on_processor(model) != before


def _on_processor(model: nn.Module) -> tuple[Any, ...]:
    """Return what a forward pass can change on the processor: the states of random numbers, and plain numbers in modules."""
    numbers = [
        (name, value) for module in model.modules() for name, value in vars(module).items() if isinstance(value, int | float)
    ]
    name, keys, *place = np.random.get_state()
    return random.getstate(), name, keys.tobytes(), place, torch.get_rng_state().numpy().tobytes(), numbers
