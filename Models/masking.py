"""Masks on any network: a 0/1 buffer beside each prunable parameter, and the one invariant `weight == weight * mask`.

Layers keep PyTorch's classes and forward; the buffer of `weight` is called `weight_mask`, as in Synaptic-Flow's
checkpoints. Multiplying after each optimizer step gives surviving weights the same path as multiplying in each forward,
for every elementwise optimizer, and costs nothing in the forward.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from Models.execution import Uses, parameter_uses
from Models.layers import LAYERS, Identity2d, biases_of, weights_of

WITHOUT_MASKS = ("torch.nn.", "Models.")  # modules whose forward pass does not look at masks


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


def _prunable_parameters(module: nn.Module, bias: bool, batchnorm: bool, residual: bool) -> set[str]:
    """Name the parameters of `module` that are prunable by these options."""
    if (batchnorm and isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)) or (residual and isinstance(module, Identity2d)):
        return {"weight", "bias"} if bias else {"weight"}
    return {*weights_of(module), *(biases_of(module) if bias else ())}


def _classifier(model: nn.Module, uses: Mapping[str, Uses]) -> nn.Parameter | None:
    """Return the weight of the last layer of `LAYERS`: that with the last use, or without any use the last declared."""
    owned = {id(m._parameters.get("weight")) for m in model.modules() if isinstance(m, LAYERS)}
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

    Prunable are the weights that `Models.layers.weights_of` names, with `batchnorm` those of BatchNorm, with `residual` those of
    `Identity2d`, with `bias` the biases of all of these. `dense_classifier` leaves the last linear, bilinear or convolutional
    layer out: with `input_shape` the last one in the execution of one image, otherwise the last one declared.

    Returns:
        The prunable parameters in the order of `model.named_parameters()`; with `input_shape` they know their `uses`.
    """
    uses = parameter_uses(model, input_shape) if input_shape else {}
    classifier = _classifier(model, uses) if dense_classifier else None
    found: list[Prunable] = []
    for module_name, module in model.named_modules():
        if classifier is not None and getattr(module, "weight", None) is classifier:
            continue
        wanted = _prunable_parameters(module, bias, batchnorm, residual)
        for param, tensor in module.named_parameters(recurse=False):
            shared = any(tensor is other.weight for other in found)
            if shared or param not in wanted:
                continue
            if not hasattr(module, f"{param}_mask"):
                module.register_buffer(f"{param}_mask", torch.ones_like(tensor, requires_grad=False))
            name = f"{module_name}.{param}" if module_name else param
            found.append(Prunable(module, module_name, param, uses.get(name)))
    return found


def keep_recorded(prunables: MutableSequence[Prunable], state: Mapping[str, torch.Tensor]) -> None:
    """Make what has no mask in `state` unprunable, in place, so that a saved run has the prunables that it was made with.

    It may have pruned fewer kinds of layers, or taken another one for the last. A state without any mask, such as that of a
    densely trained network, says nothing and changes nothing.
    """
    strangers = [p for p in prunables if f"{p.name}_mask" not in state]
    if len(strangers) == len(prunables):
        return
    for p in strangers:
        delattr(p.module, f"{p.param}_mask")
        prunables.remove(p)


def remove_masks(copied: nn.Module, prunables: Sequence[Prunable]) -> None:
    """Remove the masks of `prunables` from a copy of their network; a class from elsewhere may multiply by its masks itself."""
    for p in prunables:
        if type(p.module).__module__.startswith(WITHOUT_MASKS):
            delattr(copied.get_submodule(p.module_name), f"{p.param}_mask")


def masked_parameters(model: nn.Module) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """List the parameters of `model` that have a mask, each with it."""
    found: list[tuple[nn.Parameter, torch.Tensor]] = []
    for module in model.modules():
        masks = ((parameter, module._buffers.get(f"{name}_mask")) for name, parameter in module._parameters.items())
        found += [(parameter, mask) for parameter, mask in masks if mask is not None]
    return found


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
