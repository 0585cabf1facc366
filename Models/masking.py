"""Masks on any network: a 0/1 buffer beside each prunable parameter, and the one invariant `weight == weight * mask`.

Layers keep PyTorch's classes and forward; the buffer of `weight` is called `weight_mask`, as in Synaptic-Flow's
checkpoints. Multiplying after each optimizer step gives surviving weights the same path as multiplying in each forward,
for every elementwise optimizer, and costs nothing in the forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from Models.execution import Uses, parameter_uses
from Models.layers import Identity2d


@dataclass(frozen=True, eq=False)
class Prunable:
    """One prunable parameter. Holds the module, not the tensors, because `.to()` and rewinding may replace them.

    Attributes:
        module: the module that owns the parameter.
        module_name: its name in the network.
        param: the parameter's name in the module.
        uses: the places in the execution of one image (`Models.execution.parameter_uses`); None if no image was traced, or if
            the output does not depend on the parameter.
    """

    module: nn.Module
    module_name: str
    param: str
    uses: Uses | None = None

    @property
    def name(self) -> str:
        """The parameter's full name in the `state_dict`, such as `layers.0.conv.weight`."""
        return f"{self.module_name}.{self.param}" if self.module_name else self.param

    @property
    def weight(self) -> nn.Parameter:
        """The parameter itself, of any shape."""
        return getattr(self.module, self.param)

    @property
    def mask(self) -> torch.Tensor:
        """The mask: zeros and ones, shape and type of the weight."""
        return getattr(self.module, f"{self.param}_mask")


def _is_prunable(module: nn.Module, batchnorm: bool, residual: bool) -> bool:
    kinds: tuple[type, ...] = (nn.Conv2d, nn.Linear)
    if batchnorm:
        kinds += (nn.BatchNorm1d, nn.BatchNorm2d)
    if residual:
        kinds += (Identity2d,)
    return isinstance(module, kinds)


def _classifier(model: nn.Module, uses: Mapping[str, Uses]) -> nn.Parameter | None:
    """Return the weight of the last Conv2d or Linear layer: that with the last use, or without any use the last declared."""
    owned = {id(m.weight) for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    weights = {name: tensor for name, tensor in model.named_parameters() if id(tensor) in owned}
    used = [name for name in weights if name in uses]
    last = max(used, key=lambda name: uses[name][1]) if used else next(reversed(weights), None)
    return None if last is None else weights[last]


def add_masks(
    model: nn.Module,
    *,
    bias: bool = False,
    batchnorm: bool = False,
    residual: bool = False,
    dense_classifier: bool = False,
    input_shape: tuple[int, ...] | None = None,
) -> list[Prunable]:
    """Register an all-ones mask for every prunable parameter of `model`; an existing mask keeps its values.

    Prunable are the weights of Conv2d and Linear layers, with `batchnorm` those of BatchNorm, with `residual` those of
    `Identity2d`, with `bias` the biases of all of these. `dense_classifier` leaves the last Conv2d or Linear layer out: with
    `input_shape` the last one in the execution of one image, otherwise the last one declared.

    Returns:
        The prunable parameters in the order of `model.named_parameters()`; with `input_shape` they know their `uses`.
    """
    uses = parameter_uses(model, input_shape) if input_shape else {}
    classifier = _classifier(model, uses) if dense_classifier else None
    found: list[Prunable] = []
    for module_name, module in model.named_modules():
        dense = classifier is not None and getattr(module, "weight", None) is classifier
        if dense or not _is_prunable(module, batchnorm, residual):
            continue
        for param, tensor in module.named_parameters(recurse=False):
            shared = any(tensor is other.weight for other in found)
            wanted = param == "weight" or (param == "bias" and bias)
            if shared or not wanted:
                continue
            if not hasattr(module, f"{param}_mask"):
                module.register_buffer(f"{param}_mask", torch.ones_like(tensor, requires_grad=False))
            name = f"{module_name}.{param}" if module_name else param
            found.append(Prunable(module, module_name, param, uses.get(name)))
    return found


def only_recorded(prunables: Sequence[Prunable], masks: Mapping[str, torch.Tensor]) -> list[Prunable]:
    """Return the prunables of which `masks` has the mask, by its full name; the others lose theirs.

    A saved run thus has the prunables that it was made with, whatever counts as the last layer since. Without any mask of a
    prunable in `masks`, all are returned.
    """
    recorded = [p for p in prunables if f"{p.name}_mask" in masks]
    for p in prunables if recorded else ():
        if p not in recorded:
            delattr(p.module, f"{p.param}_mask")
    return recorded or list(prunables)


def unused_modules(prunables: Sequence[Prunable]) -> list[str]:
    """Name the modules of which the output for one image uses no prunable parameter; none if no image was traced."""
    used = {p.module_name for p in prunables if p.uses}
    return list(dict.fromkeys(p.module_name for p in prunables if used and p.module_name not in used))


@torch.no_grad()
def apply_masks(prunables: Sequence[Prunable]) -> None:
    """Restore the invariant: multiply every weight by its mask, in place."""
    if prunables:
        torch._foreach_mul_([p.weight for p in prunables], [p.mask for p in prunables])


def hold_masks(optimizer: torch.optim.Optimizer, prunables: Sequence[Prunable]) -> torch.utils.hooks.RemovableHandle:
    """Restore the invariant after each step of `optimizer`. The returned handle removes the hook."""
    weights = [p.weight for p in prunables]
    masks = [p.mask for p in prunables]

    @torch.no_grad()
    def multiply(*_: object) -> None:
        if weights:
            torch._foreach_mul_(weights, masks)

    return optimizer.register_step_post_hook(multiply)


def load_state(model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Load a `state_dict`; if it lacks masks, the network keeps its own. The caller has to restore the invariant."""
    masks = {name: tensor for name, tensor in model.state_dict().items() if name.endswith("_mask")}
    model.load_state_dict(masks | state)


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters that an optimizer may change: all except for the fixed multipliers of `Identity2d`."""
    return [p for p in model.parameters() if p.requires_grad]
