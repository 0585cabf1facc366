"""The CUDA card; on a CPU a stand-in for its streams and graphs, so that a dry run executes the same lines."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from Utils.compute.environment import driver_version

Work = Callable[[], object]


class Card:
    """The device that is measured: a CUDA card, or in a dry run the CPU.

    Attributes:
        device: the device of the tensors.
        cuda: whether it is a card. On a CPU, a stream is None, and a captured graph is the work itself.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.cuda = device, device.type == "cuda"

    def wait(self) -> None:
        """Wait until all work on the device has ended."""
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def stream(self) -> torch.cuda.Stream | None:
        """Make a stream. CUDA gives out the same 32 in turn, so that more than 32 share."""
        return torch.cuda.Stream(self.device) if self.cuda else None

    def on(self, stream: torch.cuda.Stream | None) -> AbstractContextManager[object]:
        """Make `stream` the current one inside the block."""
        return contextlib.nullcontext() if stream is None else torch.cuda.stream(stream)

    def capture(self, work: Work, stream: torch.cuda.Stream | None) -> Work:
        """Capture `work` as a graph on `stream` with its own memory; return the replay, which runs on that stream.

        `work` must have run on the same stream before: the libraries keep a workspace for each stream, which would otherwise be
        allocated during the capture.
        """
        self.free()  # a dead graph that Python collects during the capture of another would invalidate it
        if stream is None:
            return work
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=torch.cuda.graph_pool_handle(), stream=stream):
            work()
        return Replay(graph, stream, work)

    def free(self) -> None:
        """Release unused memory, graphs included."""
        self.wait()
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()

    def reserved(self) -> float | None:
        """Return the GiB that torch holds on the card, the memory of graphs included; None on a CPU."""
        return torch.cuda.memory_reserved(self.device) / 2**30 if self.cuda else None

    def about(self) -> dict[str, str]:
        """Name the card, its driver, and the versions of torch, CUDA and cuDNN."""
        return {
            "card": torch.cuda.get_device_name(self.device) if self.cuda else "no card: a dry run on the CPU",
            "driver": (driver_version() or "unknown") if self.cuda else "none",
            "torch": torch.__version__,
            "CUDA": torch.version.cuda or "none",
            "cuDNN": str(torch.backends.cudnn.version() or "none"),
        }


@dataclass(frozen=True)
class Replay:
    """A captured graph, its stream, and the work whose tensors it reads, which must live as long."""

    graph: torch.cuda.CUDAGraph
    stream: torch.cuda.Stream
    work: Work

    def __call__(self) -> None:
        """Start the graph; the host does not wait."""
        with torch.cuda.stream(self.stream):
            self.graph.replay()


@contextmanager
def arithmetic(tf32: bool) -> Iterator[None]:
    """Allow or forbid TF32 inside the block, with cuDNN's deterministic algorithms, as in runs; restored afterwards."""
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic
    cudnn.allow_tf32 = products.allow_tf32 = tf32
    cudnn.deterministic = True
    try:
        yield
    finally:
        cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic = before
