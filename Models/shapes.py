"""Dry runs: the shapes of a network's outputs for one image, without their values and without changing the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

Watch = Callable[[dict[str, torch.Tensor], torch.Tensor], AbstractContextManager[object]]


@contextmanager
def eval_mode(model: nn.Module, training: bool = False) -> Iterator[None]:
    """Set every module to eval mode (`training`: to train mode), and back to its own mode afterwards.

    Sets the flags themselves, because a model's own `train` may do more than that.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        for module in modes:
            module.training = training
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def dry_run(
    model: nn.Module, input_shape: tuple[int, ...], *, images: int = 1, training: bool = False, watch: Watch | None = None
) -> object:
    """Return the output for one image, or several `images`, on the `meta` device, shapes without values.

    Neither the model nor the random numbers change, in train mode (`training`) neither. A network that cannot run there, such as
    one that keeps a tensor outside its buffers, runs on zeros. `watch` is that of `on_stand_ins`.
    """
    with eval_mode(model, training), torch.no_grad(), torch.random.fork_rng(devices=[]):
        return on_stand_ins(model, (images, *input_shape), lambda tensor, stand_in: stand_in, watch)


def on_stand_ins(
    model: nn.Module,
    shape: tuple[int, ...],
    replace: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    watch: Watch | None = None,
) -> object:
    """Compute the output for images of `shape` with stand-ins for all parameters and buffers, on `meta` or else on zeros.

    `replace(tensor, stand_in)` returns what takes the tensor's place. `watch` is given what stands in for each parameter and
    buffer, by name, and the images, and returns a context in which the network then runs; it is called again for the second run.
    """

    def copied(tensor: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():  # a leaf, whatever a mode makes of `detach`
            stand_in = tensor.clone()
        return replace(tensor, stand_in)

    try:
        empty = torch.zeros(shape, device="meta")
        return _functional(model, lambda t: replace(t, torch.empty_like(t, device="meta", requires_grad=False)), empty, watch)
    except Exception:  # a wrong shape fails again here, with the message of a real pass
        device = next((t.device for t in model.parameters()), torch.device("cpu"))
        return _functional(model, copied, torch.zeros(shape, device=device), watch)


def outputs_for_one_image(
    model: nn.Module, input_shape: tuple[int, ...], watch: Watch | None = None
) -> list[tuple[str, nn.Module, tuple[int, ...]]]:
    """List (name, module, output shape) for every call of a module with parameters of its own, in order of execution.

    `watch` is that of `dry_run`.
    """
    calls: list[tuple[str, nn.Module, tuple[int, ...]]] = []
    started: list[int] = []

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, torch.Tensor):
                calls.append((name, module, tuple(first.shape)))

        return hook

    # A pass that fails on `meta` is repeated: what it had noted by then is dropped.
    handles = [model.register_forward_pre_hook(lambda *_: started.append(len(calls)))]
    owners = [(n, m) for n, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None]
    handles += [module.register_forward_hook(note(name)) for name, module in owners]
    try:
        dry_run(model, input_shape, watch=watch)
    finally:
        for handle in handles:
            handle.remove()
    return calls[started[-1] :]


def _functional(
    model: nn.Module, make: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, watch: Watch | None
) -> object:
    """Compute `model(image)` with the result of `make` in place of every parameter and buffer, so that none can change."""
    tensors = {name: make(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    with same_attributes(model), watch(tensors, image) if watch else nullcontext():
        return torch.func.functional_call(model, tensors, (image,))


@contextmanager
def same_attributes(model: nn.Module) -> Iterator[None]:
    """Put back the attributes of all modules afterwards: a network may keep a table that it made for the images it saw."""
    attributes = [(vars(module), dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for now, before in attributes:
            now.clear()
            now.update(before)


def image_format(model: nn.Module) -> torch.memory_format:
    """Return the memory format of images for `model`: channels last for convolutions on a CPU, a third quicker there.

    On a card it is that of the convolutions' weights.
    """
    weights = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d)]
    on_cpu = next(model.parameters()).device.type == "cpu"
    last = bool(weights) and (on_cpu or any(_is_channels_last(weight) for weight in weights))
    return torch.channels_last if last else torch.contiguous_format


def _is_channels_last(weight: torch.Tensor) -> bool:
    """Tell whether a weight [out, in, H, W] is stored channels last; one of 1x1 kernels or one channel is stored both ways."""
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
