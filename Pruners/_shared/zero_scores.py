"""Scores of zero: the weights that only their position kept, and the likely cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from Models.layers import weights_of
from Models.masking import Prunable
from Pruners._shared.homogeneous import BOUNDED, CLIPPED, Homogeneous, limits, plain_name
from Pruners._shared.problem import Problem
from Utils.base.text import few

IMAGE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
SHOWN = 5  # names of layers in the line on the cause


class ZeroScores:
    """The weights with a score of zero among those that a cut kept and those that it removed.

    Attributes:
        layers: name of each parameter with weights that were kept by position alone -> their number.
        cause: a line on the likely cause and what to do; empty without such weights.
    """

    def __init__(self) -> None:
        self.layers: dict[str, int] = {}
        self.cause = ""
        self._counts: list[tuple[bool, list[str], torch.Tensor]] = []

    def count(
        self, scores: Sequence[torch.Tensor], before: Sequence[torch.Tensor], prunables: Sequence[Prunable], by_tensor: bool
    ) -> None:
        """Count the zeros that a cut left and removed, on the device; `before` are the masks before the cut.

        `by_tensor` says that each tensor was cut by itself.
        """
        rows = []
        for score, old, prunable in zip(scores, before, prunables, strict=True):
            zero, now = score == 0, prunable.mask > 0
            rows.append(torch.stack([(zero & now).sum(), (zero & old & ~now).sum(), old.sum()]))
        self._counts.append((by_tensor, [p.name for p in prunables], torch.stack(rows)))

    def read(self, problem: Problem) -> None:
        """Read the counts from the device: zeros were kept by position where the same cut removed others. Look for a cause."""
        emptied: list[str] = []
        for by_tensor, names, counts in self._counts:
            rows = list(zip(names, counts.tolist(), strict=True))
            removed = sum(gone for _, (_, gone, _) in rows)
            self.layers |= {name: kept for name, (kept, gone, _) in rows if kept and (gone if by_tensor else removed)}
            emptied += [name for name, (_, _, alive) in rows if not alive]
        self._counts = []
        self.cause = likely_cause(problem, emptied) if self.layers else ""


def likely_cause(problem: Problem, emptied: Sequence[str]) -> str:
    """Say in one line why scores of `problem` are likely to be zero, and what to do.

    `emptied` names the prunable parameters of which no weight was left when the scores were computed.
    """
    train = "train the network first (--experiment singleshot --pre-epochs) or give trained weights (--weights)"
    layers, scales = _zero_layers(problem.model, emptied)
    if layers:
        return f"Likely cause: zero-initialised layers ({few(layers, SHOWN)}) pass no gradient on: {train}"
    if scales:
        named = few(scales, SHOWN)
        return f"Likely cause: the scales of norms are zero ({named}), so that their branches pass nothing on: {train}"
    if zeros := _kept_zeros(problem):
        return (
            f"Likely cause: the weights are zero themselves ({few(zeros, SHOWN)}), as new biases are, and what an earlier pruning"
            " removed if --weights-dense is given: train them first (--pre-epochs), keep fewer weights, or leave out that flag"
        )
    if emptied:
        return (
            f"Likely cause: no weight is left in {few(emptied, SHOWN)}, so that no path leads through the network: "
            "keep more weights, or take more rounds (--prune-epochs)"
        )
    softmax, bounded = _functions(problem)
    if softmax:
        return (
            "Likely cause: the network ends in a softmax, and the loss applies another one, so that gradients vanish: return"
            " what goes into the softmax"
        )
    if bounded:
        return (
            f"Likely cause: saturated activations ({few(bounded, SHOWN)}), whose gradient is zero for large numbers, "
            "as in the gates"
            " of squeeze-and-excitation: give smaller initial weights or trained ones (--weights), or take a method without"
            " gradients (--pruner mag)"
        )
    if any(isinstance(m, IMAGE_NORMS) or (m.training and isinstance(m, nn.BatchNorm2d)) for m in problem.model.modules()):
        return (
            "Likely cause: norms that subtract the mean of the one image make the output constant: take another method "
            "(--pruner snip), or leave out --prune-train-mode"
        )
    return (
        "Likely cause: units that no scoring image activates, or layers that the output does not depend on: score more images "
        "(--prune-dataset-ratio), or keep fewer weights"
    )


def _zero_layers(model: nn.Module, emptied: Sequence[str]) -> tuple[list[str], list[str]]:
    """Name the layers and the norms of which all weights are zero, without those that pruning emptied."""
    layers, scales = [], []
    for name, module in model.named_modules():
        for param in dict.fromkeys((*weights_of(module), "weight")):
            weight = module._parameters.get(param)
            full = f"{name}.{param}" if name else param
            if weight is not None and full not in emptied and not bool(weight.detach().any()):
                (layers if weight.dim() > 1 else scales).append(full)
    return layers, scales


def _kept_zeros(problem: Problem) -> list[str]:
    """Name the prunable parameters with kept weights that are zero themselves."""
    return [p.name for p in problem.prunables if bool(((p.weight.detach() == 0) & (p.mask != 0)).any())]


def _functions(problem: Problem) -> tuple[bool, list[str]]:
    """Tell whether the network ends in a softmax, and name the bounded activations it calls, for one image."""
    calls = _Calls()
    modes = [(module, module.training) for module in problem.model.modules()]
    try:
        problem.model.eval()
        with torch.no_grad(), Homogeneous() as homogeneous, calls:
            output = problem.forward([w.detach() for w in problem.weights()], problem.ones(problem.prunables[0].weight.dtype))
        return homogeneous.ends_in_softmax(output), list(calls.bounded)
    finally:
        for module, training in modes:
            module.training = training


class _Calls(TorchFunctionMode):
    """A mode that notes the names of bounded activations."""

    def __init__(self) -> None:
        super().__init__()
        self.bounded: dict[str, None] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = plain_name(func), kwargs or {}
        clips = name in CLIPPED and limits(name, args, kwargs)[1] is not None
        if clips or name in BOUNDED or name == "glu":
            self.bounded[name] = None
        return func(*args, **kwargs)
