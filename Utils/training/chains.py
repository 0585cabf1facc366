"""Epochs of several chains of linear layers, step by step for all at once, on a CPU.

The matrix products are those of each network alone, with the same operands, so that its numbers have the same bits. Everything
around them is done once for all networks: activations, the optimizer, masks, batches. For networks as small as `fc` that is most
of a step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from copy import copy
from typing import Any

import torch

from Models.chain import linear_chain
from Models.masking import masked_parameters
from Utils.training.loops import TrainingPass
from Utils.training.passes import Pass

ALIGNED = 16  # numbers of 64 bytes: products of the same numbers may round otherwise at other places in memory
aten = torch.ops.aten


def chain_kind(one: Pass) -> Hashable:
    """Return what chains must have in common to be trained at once; None for any other pass."""
    if not isinstance(one, TrainingPass) or one.forward is not one.model or one.after_step or one.source is None:
        return None
    layers, precision = linear_chain(one.model), one.precision
    if layers is None or one.graphs.device.type != "cpu" or precision.dtype != torch.float32 or precision.scaler:
        return None
    shapes = tuple((tuple(layer.weight.shape), layer.bias is not None, layer.weight.dtype) for layer in layers)
    return (shapes, type(one.optimizer), one.source.images, one.source.batch_size, one.threads)


def train_chains(passes: Sequence[TrainingPass]) -> list[None]:
    """Go through the batches of passes of one kind at once."""
    sources = {one.source: iter(one.batches) for one in passes}
    optimizer = _optimizer_of_all([one.optimizer for one in passes])
    chains = [_Chain(one) for one in passes]
    masked = [pair for one in passes for pair in masked_parameters(one.model)]
    weights, masks = [weight for weight, _ in masked], [mask for _, mask in masked]
    steps: dict[int, _Steps] = {}
    with torch.no_grad():
        for batches in zip(*sources.values(), strict=True):
            now = dict(zip(sources, batches, strict=True))
            inputs, labels = zip(*(now[one.source] for one in passes), strict=True)
            size = len(labels[0])
            if size not in steps:
                steps[size] = _Steps(chains, size)
            losses = steps[size].gradients([x.flatten(1) for x in inputs], labels)
            optimizer.step()
            if masked:
                torch._foreach_mul_(weights, masks)
            for one, loss in zip(passes, losses, strict=True):
                one.total.add_(loss.double() * size)
                one.images += size
                one.counted()
    _share_out(optimizer, [one.optimizer for one in passes])
    return [None] * len(passes)


def _optimizer_of_all(optimizers: Sequence[torch.optim.Optimizer]) -> torch.optim.Optimizer:
    """Make one optimizer over the parameters of all, with the state of each; `_share_out` gives it back.

    A group has parameters that have a state or such that have none yet: torch starts the momentum of a whole group at once.
    """
    groups: dict[str, dict[str, Any]] = {}
    state: dict[torch.Tensor, Any] = defaultdict(dict)
    for optimizer in optimizers:
        state.update(optimizer.state)
        for group in optimizer.param_groups:
            alike = {name: value for name, value in group.items() if name != "params"}
            kind = f"{bool(optimizer.state)} {sorted(alike.items())}"
            groups.setdefault(kind, alike | {"params": []})["params"].extend(group["params"])
    whole = copy(optimizers[0])
    whole.param_groups, whole.state = list(groups.values()), state
    return whole


def _share_out(whole: torch.optim.Optimizer, optimizers: Sequence[torch.optim.Optimizer]) -> None:
    """Give each optimizer the state of its parameters."""
    for optimizer in optimizers:
        own = (parameter for group in optimizer.param_groups for parameter in group["params"])
        optimizer.state.update((parameter, whole.state[parameter]) for parameter in own if parameter in whole.state)
        optimizer._opt_called = True  # torch warns of a schedule that moves before its optimizer


class _Chain:
    """The layers of one network, with gradients that are written anew in each step."""

    def __init__(self, one: TrainingPass) -> None:
        self.layers = linear_chain(one.model) or []
        self.transposed = [layer.weight.detach().t() for layer in self.layers]
        for tensor in one.model.parameters():
            tensor.grad = torch.empty_like(tensor)


class _Steps:
    """The activations of steps with batches of one size, and the gradients that such a step computes.

    The matrices of one layer lie in one tensor [N, numbers], each at a place of its own that is aligned.
    """

    def __init__(self, chains: Sequence[_Chain], size: int) -> None:
        self._chains, self._size = chains, size
        widths = [layer.out_features for layer in chains[0].layers]
        self._outputs = [self._matrices(width) for width in widths]
        self._slopes = [self._matrices(width) for width in widths[:-1]]
        self._one = torch.ones(())

    def _matrices(self, width: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Make a matrix [size, width] for each network: all of them as one tensor, and each by itself."""
        numbers = self._size * width
        rows = torch.zeros(len(self._chains), -(-numbers // ALIGNED) * ALIGNED)
        return rows, [row[:numbers].view(self._size, width) for row in rows]

    def gradients(self, inputs: Sequence[torch.Tensor], labels: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Compute the gradients of the mean loss of each network, into its parameters; return the losses.

        Each product, sum and loss is that of `torch.nn.functional.linear` and `cross_entropy`, and of their derivatives.
        """
        self._forward(inputs)
        losses, slopes = [], []
        for logits, targets in zip(self._outputs[-1][1], labels, strict=True):
            shares = torch.log_softmax(logits, 1)
            loss, weight = aten.nll_loss_forward(shares, targets, None, 1, -100)
            slope = aten.nll_loss_backward(self._one, shares, targets, None, 1, -100, weight)
            slopes.append(aten._log_softmax_backward_data(slope, shares, 1, shares.dtype))
            losses.append(loss)
        self._backward(inputs, slopes)
        return losses

    def _forward(self, inputs: Sequence[torch.Tensor]) -> None:
        """Compute the outputs of each layer, after its ReLU but for the last."""
        for number, (whole, outputs) in enumerate(self._outputs):
            for chain, x, output in zip(self._chains, inputs, outputs, strict=True):
                weight, bias = chain.transposed[number], chain.layers[number].bias
                if bias is None:
                    torch.mm(x, weight, out=output)
                else:
                    torch.addmm(bias, x, weight, out=output)
            if number < len(self._outputs) - 1:
                whole.clamp_min_(0)
            inputs = outputs

    def _backward(self, inputs: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor]) -> None:
        """Compute the gradients from `slopes`, the derivatives by the logits."""
        for number in reversed(range(len(self._outputs))):
            below = self._outputs[number - 1][1] if number else inputs
            for place, (chain, slope) in enumerate(zip(self._chains, slopes, strict=True)):
                layer = chain.layers[number]
                torch.mm(slope.t(), below[place], out=layer.weight.grad)
                if layer.bias is not None:
                    torch.sum(slope, 0, out=layer.bias.grad)
                if number:
                    torch.mm(slope, layer.weight, out=self._slopes[number - 1][1][place])
            if number:
                whole, slopes = self._slopes[number - 1]
                aten.threshold_backward.grad_input(whole, self._outputs[number - 1][0], 0, grad_input=whole)
