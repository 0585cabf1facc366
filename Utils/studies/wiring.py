"""The wiring of a network's layers, found by running it: the inputs of each layer are traced back to their sources."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from Models.shapes import eval_mode

LAYERS = nn.Conv2d | nn.Linear
INPUT, OUTPUT = "the image", "the output"
Sources = list[tuple[str, torch.Tensor]]


@dataclass(frozen=True)
class Wiring:
    """The layers (Conv2d and Linear) of a network and their connections.

    Attributes:
        layers: their names in the order of their calls.
        pairs: the names of consecutive layers. The output of the first goes only to the second, the second has no other input,
            and unit u of C feeds the u-th of C equal parts of the second's inputs (several inputs if a map was flattened).
    """

    layers: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @property
    def is_chain(self) -> bool:
        """Whether each layer feeds the next one and no other."""
        return len(self.pairs) == len(self.layers) - 1


@dataclass(frozen=True)
class _Feed:
    """The sources that one call of a layer, or the network's output, was computed from."""

    layer: str
    origins: list[str]
    keeps_units: bool = False


def wiring_of(model: nn.Module, input_shape: tuple[int, ...]) -> Wiring:
    """Find the consecutive layers of `model` by one pass of an image [1, *input_shape]; the model does not change.

    The output of each layer is replaced by ones with a gradient of their own, so that the gradients of a layer's input lead back
    to the layers directly before it and no further. A layer that is called twice is in no pair.
    """
    names = {module: name for name, module in model.named_modules() if isinstance(module, LAYERS)}
    sources: Sources = []
    feeds: list[_Feed] = []

    def before(module: nn.Module, inputs: tuple[torch.Tensor, ...], named: dict[str, torch.Tensor]) -> None:
        value = (*inputs, *named.values())[0]
        origins = _origins(value, sources)
        keeps_units = False
        if len(origins) == 1 and origins[0][0] != INPUT:
            first, output = origins[0]
            keeps_units = _keeps_units(model.get_submodule(first), output, module, value)
        feeds.append(_Feed(names[module], [name for name, _ in origins], keeps_units))

    def after(module: nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        ones = torch.ones_like(output).requires_grad_()
        sources.append((names[module], ones))
        return ones.clone()  # the next module may work in place

    handles = [module.register_forward_pre_hook(before, with_kwargs=True) for module in names]
    handles += [module.register_forward_hook(after) for module in names]
    try:
        result = _run_on_ones(model, input_shape, sources)
    finally:
        for handle in handles:
            handle.remove()
    feeds.append(_Feed(OUTPUT, [name for name, _ in _origins(result, sources)]))
    return _wiring(feeds)


def _run_on_ones(model: nn.Module, input_shape: tuple[int, ...], sources: Sources) -> torch.Tensor:
    """Return the output for parameters, buffers and image of ones, so that no ReLU stops a gradient."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    ones = {name: torch.ones_like(t, requires_grad=False) for name, t in tensors.items() if t.is_floating_point()}
    image = torch.ones(1, *input_shape, device=next(model.parameters()).device, requires_grad=True)
    sources.append((INPUT, image))
    with eval_mode(model), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        return torch.func.functional_call(model, ones, (image.clone(),))


def _origins(value: torch.Tensor, sources: Sources) -> Sources:
    """Return those of `sources` that `value` was computed from."""
    if not value.requires_grad:
        return []
    found = torch.autograd.grad(value.sum(), [s for _, s in sources], retain_graph=True, allow_unused=True)
    return [source for source, gradient in zip(sources, found, strict=True) if gradient is not None]


def _keeps_units(first: nn.Module, output: torch.Tensor, second: nn.Module, value: torch.Tensor) -> bool:
    """Tell whether unit u of `output` alone feeds the u-th part of the inputs `value` of `second`.

    Layers between the two may neither shuffle nor mix units. It is tested for each bit of u: the inputs of all units with that
    bit must not depend on a unit without it.
    """
    output_axis, input_axis = _axis(first), _axis(second)
    units, inputs = output.shape[output_axis], value.shape[input_axis]
    if inputs % units:
        return False
    numbers = torch.arange(units, device=value.device)
    owners = numbers.repeat_interleave(inputs // units)
    for bit in range((units - 1).bit_length()):
        for wanted in (0, 1):
            chosen = value.movedim(input_axis, -1) * (owners >> bit & 1 == wanted)
            (gradient,) = torch.autograd.grad(chosen.sum(), output, retain_graph=True)
            touched = gradient.movedim(output_axis, -1).reshape(-1, units).any(0)
            if touched[numbers >> bit & 1 != wanted].any():
                return False
    return True


def _axis(layer: nn.Module) -> int:
    """Return the axis of a layer's units, in its inputs and in its outputs."""
    return 1 if isinstance(layer, nn.Conv2d) else -1


def _wiring(feeds: list[_Feed]) -> Wiring:
    layers = tuple(feed.layer for feed in feeds[:-1])
    calls = Counter(layers)
    consumers = Counter(origin for feed in feeds for origin in feed.origins)
    pairs = (
        (feed.origins[0], feed.layer)
        for feed in feeds
        if feed.keeps_units and consumers[feed.origins[0]] == calls[feed.origins[0]] == calls[feed.layer] == 1
    )
    return Wiring(layers, tuple(pairs))
