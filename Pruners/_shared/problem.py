"""The problem that a pruner scores: network, masked weights, a few fixed batches, loss. The model never changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property

import torch
from torch import nn
from torch.func import functional_call

from Models.layers import without_cudnn
from Models.masking import Prunable
from Utils.base.seeds import derive, generator

Batch = tuple[torch.Tensor, torch.Tensor]


class Problem:
    """A network to be scored. Pruners read from it and hand tensors to `forward`; they never change the model.

    Attributes:
        model: the network; its prunable weights are raw, the masks lie beside them.
        prunables: the prunable parameters; scores are returned in this order.
        input_shape: (channels, height, width) of one image.
        loss: (logits [B, classes], labels [B]) -> scalar, the mean over the batch.
        train_mode: whether BatchNorm and dropout act as in training while scoring.
    """

    def __init__(
        self,
        model: nn.Module,
        prunables: Sequence[Prunable],
        input_shape: tuple[int, ...],
        *,
        read_batches: Callable[[], list[Batch]] | None = None,
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = nn.functional.cross_entropy,
        seed: int = 1,
        train_mode: bool = False,
    ) -> None:
        self.model, self.prunables, self.input_shape = model, list(prunables), tuple(input_shape)
        self.loss, self.train_mode, self._seed, self._read = loss, train_mode, seed, read_batches
        self.generator = generator(seed, "scores")

    @cached_property
    def batches(self) -> list[Batch]:
        """The scoring images, normalised, never augmented, and their labels, in one fixed order; read once.

        Raises:
            ValueError: the pruner does not say that it needs data.
        """
        if self._read is None:
            raise ValueError("this problem has no data: the pruner must say `needs_data = True`")
        return self._read()

    @property
    def masks(self) -> list[torch.Tensor]:
        """The masks as they are now, in the order of `prunables`."""
        return [p.mask for p in self.prunables]

    @property
    def device(self) -> torch.device:
        """The device of the weights; scores are expected there."""
        return self.prunables[0].weight.device

    def weights(self, dtype: torch.dtype | None = None) -> list[torch.Tensor]:
        """Return the masked weights w * m, one per prunable parameter, as fresh leaves that `torch.autograd.grad` accepts."""
        return [(p.weight.detach() * p.mask).to(dtype).requires_grad_() for p in self.prunables]

    def state(self, transform: Callable[[torch.Tensor], torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
        """Return every other float parameter and buffer, detached, transformed and in `dtype`, as `forward` takes them."""
        own = {p.name for p in self.prunables} | {f"{p.name}_mask" for p in self.prunables}
        tensors = dict(self.model.named_parameters()) | dict(self.model.named_buffers())
        floats = {name: t for name, t in tensors.items() if name not in own and t.is_floating_point()}
        return {name: transform(t.detach()).to(dtype) for name, t in floats.items()}

    def forward(
        self, weights: Sequence[torch.Tensor], images: torch.Tensor, state: dict[str, torch.Tensor] | None = None
    ) -> torch.Tensor:
        """Compute the output [B, classes] for `images` [B, C, H, W] with `weights` in place of the prunable parameters.

        `state` replaces other parameters and buffers by name. In train mode the buffers (BatchNorm's statistics) are copies, so
        that those of the model stay as they are.
        """
        tensors = {name: b.clone() for name, b in self.model.named_buffers()} if self.train_mode else {}
        tensors |= state or {}
        tensors |= {p.name: w for p, w in zip(self.prunables, weights, strict=True)}
        return functional_call(self.model, tensors, (images,))

    def gradients(self, value: torch.Tensor, weights: Sequence[torch.Tensor], create_graph: bool = False) -> list[torch.Tensor]:
        """Return d value / d weights, masked; zeros for a weight that `value` does not depend on."""
        found = torch.autograd.grad(value, list(weights), create_graph=create_graph, allow_unused=True)
        return [torch.zeros_like(w) if g is None else g * p.mask for g, w, p in zip(found, weights, self.prunables, strict=True)]

    def ones(self, dtype: torch.dtype) -> torch.Tensor:
        """Return one image of ones, [1, C, H, W]."""
        return torch.ones(1, *self.input_shape, dtype=dtype, device=self.device)

    @contextmanager
    def scoring(self, round_index: int) -> Iterator[None]:
        """Set mode and random numbers for one round of scoring, and put them back afterwards.

        Raises:
            RuntimeError: the pruner wrote to a parameter or buffer.
        """
        modes = [(module, module.training) for module in self.model.modules()]
        tensors = [*self.model.parameters(), *self.model.buffers()]
        versions = [t._version for t in tensors]
        devices = [self.device.index] if self.device.type == "cuda" else []
        recurrent = any(isinstance(module, nn.RNNBase) for module, _ in modes)
        with torch.random.fork_rng(devices), without_cudnn() if recurrent else nullcontext():
            torch.manual_seed(derive(self._seed, "scoring", round_index))
            try:
                self.model.train(self.train_mode)
                yield
            finally:
                for module, training in modes:
                    module.training = training
        if versions != [t._version for t in tensors]:
            raise RuntimeError("the pruner changed the model while scoring: scores must be computed on copies")
