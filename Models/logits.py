"""The check that a network turns images into one tensor of logits, in eval mode and in train mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass

import torch
from torch import nn

from Models.shapes import dry_run
from Utils.base.errors import Refused
from Utils.base.text import one_line

SHOWN = 4  # parts of an output that a line describes


def check_shape(model: nn.Module, input_shape: tuple[int, ...], num_classes: int, name: str) -> None:
    """Refuse, in one line, a model that does not map one image to [1, num_classes]; the model does not change."""
    images = f"images of {_text(input_shape)}"
    try:
        output = dry_run(model, input_shape)
    except Exception as error:
        reason = one_line(str(error)) or type(error).__name__
        raise Refused(f"--model {name} cannot take {images}: {reason}") from error
    wanted = [1, num_classes]
    if not _fits(output, wanted):
        got, hint = _described(output), _hint(output, wanted)
        raise Refused(f"--model {name} turns one image of {_text(input_shape)} into {got}, not into {wanted}{hint}")


def check_train_mode(model: nn.Module, input_shape: tuple[int, ...], num_classes: int, name: str) -> None:
    """Refuse, in one line, a model whose output in train mode is not one tensor of logits, as one with auxiliary heads.

    A model that cannot be tried in train mode without values passes; the model does not change.
    """
    try:
        output = dry_run(model, input_shape, images=2, training=True)  # two, as BatchNorm cannot train on one value
    except Exception:  # the training itself will say what fails
        return
    wanted = [2, num_classes]
    if not _fits(output, wanted):
        raise Refused(
            f"--model {name} turns two images of {_text(input_shape)} into {_described(output)} in train mode, not into "
            f"{wanted}: the loss takes logits alone{_hint(output, wanted)}, in train mode too"
        )


def _fits(output: object, wanted: list[int]) -> bool:
    return isinstance(output, torch.Tensor) and list(output.shape) == wanted


def _described(output: object) -> str:
    """Describe an output by its shape, or by its type and the shapes of its parts."""
    if isinstance(output, torch.Tensor):
        return str(list(output.shape))
    kind = f"a {type(output).__name__}"
    parts = [(f"{key} " if named else "") + _described(part) for key, part, named in _parts(output)]
    more = ", ..." if len(parts) > SHOWN else ""
    return f"{kind} ({', '.join(parts[:SHOWN])}{more})" if parts else kind


def _hint(output: object, wanted: list[int]) -> str:
    """Say what the model's `forward` has to return instead; "" if that is not plain."""
    if isinstance(output, torch.Tensor):
        shape = list(output.shape)
        if shape[:2] == wanted and set(shape[2:]) == {1}:
            return ": let its forward return output.flatten(1)"
        if shape == wanted[1:]:
            return ": let its forward keep the batch's dimension, as squeeze() without a number removes it"
        return ""
    fitting = [key for key, part, _ in _parts(output) if _fits(part, wanted)]
    if not fitting:
        return ""
    plain = is_dataclass(output) and not isinstance(output, Mapping)
    return f": let its forward return only output{f'.{fitting[0]}' if plain else f'[{fitting[0]!r}]'}"


def _parts(output: object) -> list[tuple[object, object, bool]]:
    """Return (key, part, whether the key is a name) for each part of a tuple, list, dictionary or dataclass."""
    if isinstance(output, Mapping):
        return [(key, part, True) for key, part in output.items()]
    if is_dataclass(output):
        return [(field.name, getattr(output, field.name, None), True) for field in fields(output)]
    if isinstance(output, tuple | list):
        return [(i, part, False) for i, part in enumerate(output)]
    return []


def _text(input_shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in input_shape)
