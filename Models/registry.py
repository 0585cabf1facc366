"""Every network by class and name. Plain data until one is built: importing this imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from Utils.base.errors import Refused
from Utils.base.text import did_you_mean, one_line, pick_from

if TYPE_CHECKING:
    from torch import nn

VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "-bn"))
CIFAR_RESNETS = tuple(f"{wide}resnet{depth}" for wide in ("", "wide-") for depth in (20, 32, 44, 56, 110, 1202))
RESNETS = tuple(f"resnet{depth}" for depth in (18, 34, 50, 101, 152))
WIDE_RESNETS = tuple(f"wide-{name}" for name in RESNETS)


def _in(module: str, *names: str) -> dict[str, str]:
    return {name: f"Models.{module}:{name.replace('-', '_')}" for name in names}


# Class -> name on the command line -> "module:factory"; a factory is f(input_shape, num_classes, dense_classifier) -> module.
CLASSES: dict[str, dict[str, str]] = {
    "default": _in("default", "fc", "conv"),
    "lottery": _in("lottery_vgg", *VGGS) | _in("lottery_resnet", *CIFAR_RESNETS) | _in("lottery_alexnet", "alexnet"),
    "tinyimagenet": _in("tinyimagenet_vgg", *VGGS) | _in("tinyimagenet_resnet", *RESNETS, *WIDE_RESNETS),
    "imagenet": _in("imagenet", *VGGS, *RESNETS, "wide-resnet50", "wide-resnet101"),
}
TORCHVISION, USER = "torchvision", "user"
IMPLIED = {"imagenet": "imagenet", "tiny-imagenet": "tinyimagenet"}  # dataset -> class
# The image shape and number of classes that a class was made for.
NATURAL = {
    "default": ((1, 28, 28), 10),
    "lottery": ((3, 32, 32), 10),
    "tinyimagenet": ((3, 64, 64), 200),
    "imagenet": ((3, 224, 224), 1000),
}


def resolve(name: str, model_class: str | None, dataset: str) -> tuple[str, str]:
    """Find the class and the name of the network that `--model name`, `--model-class` and `--dataset` mean.

    Without a class it is the class that the dataset implies, else default, then lottery, then the only other class that has the
    name; torchvision is never implied. `FILE.py:FUNCTION` is of the class `user`.

    Raises:
        Refused: unknown class or name, a name that several classes have, a class given with a file.
    """
    if ".py:" in name:
        if model_class is not None:
            raise Refused(f"--model {name} names a file: it goes without --model-class {model_class}")
        return USER, name
    if name.endswith(".py"):
        raise Refused(f"--model {name}: write FILE.py:FUNCTION, with the function that makes the network")
    if model_class == TORCHVISION:
        return TORCHVISION, name
    name = name.replace("_", "-")
    if model_class is not None:
        _factory_path(name, model_class)
        return model_class, name
    having = [key for key in CLASSES if name in CLASSES[key]]
    for key in (IMPLIED.get(dataset), "default", "lottery"):
        if key in having:
            return key, name
    if not having:
        known = "; ".join(f"{key}: {', '.join(CLASSES[key])}" for key in CLASSES)
        near = did_you_mean(name, sorted({model for models in CLASSES.values() for model in models}))
        other = f"torchvision's models need --model-class {TORCHVISION}"
        raise Refused(f"--model {name} is in no class: {near}choose from {known}; {other}")
    if len(having) > 1:
        raise Refused(f"--model {name} is in several classes: choose --model-class {' or '.join(having)}")
    return having[0], name


def _factory_path(name: str, model_class: str) -> str:
    if model_class not in CLASSES:
        raise Refused(f"--model-class {model_class} is unknown; choose from {', '.join((*CLASSES, TORCHVISION))}")
    path = CLASSES[model_class].get(name.replace("_", "-"))
    if path is None:
        others = " or ".join(key for key in CLASSES if name.replace("_", "-") in CLASSES[key])
        having = f"--model-class {others} has it; " if others else ""
        raise Refused(f"--model {name} is not in --model-class {model_class}: {having}{pick_from(name, CLASSES[model_class])}")
    return path


def factory(name: str, model_class: str) -> Callable[..., nn.Module]:
    """Import the function f(input_shape, num_classes, dense_classifier=False) of a registered network.

    Raises:
        Refused: no network has this class and name.
    """
    module, _, function = _factory_path(name, model_class).partition(":")
    return getattr(importlib.import_module(module), function)


def build(
    name: str,
    model_class: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    *,
    dense_classifier: bool = False,
    pretrained: bool = False,
    download: bool = True,
) -> nn.Module:
    """Build the network on the CPU in float32 from torch's global generator: [B, *input_shape] -> [B, num_classes].

    `dense_classifier` only keeps the order of Synaptic-Flow's draws; `Models/masking.py` leaves the last layer out.

    Raises:
        Refused: unknown name, a shape that it cannot take, weights that cannot be had, a user's file that fails.
    """
    import torch

    from Models.logits import check_shape

    if pretrained and model_class != TORCHVISION:
        raise Refused(f"--pretrained fetches torchvision's weights; a {model_class} network takes your own with --weights FILE")
    try:
        model = _construct(name, model_class, input_shape, num_classes, dense_classifier, pretrained, download)
    except Refused:
        raise
    except (ValueError, ArithmeticError, IndexError, AssertionError) as error:
        reason = one_line(str(error)) or type(error).__name__
        raise Refused(f"--model {name} cannot be built for images of {_text(input_shape)}: {reason}") from error
    model = model.to("cpu", torch.float32)
    check_shape(model, input_shape, num_classes, name)
    return model


def _construct(
    name: str,
    model_class: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    dense_classifier: bool,
    pretrained: bool,
    download: bool,
) -> nn.Module:
    if model_class == TORCHVISION:
        from Models import torchvision_models

        return torchvision_models.network(name, input_shape, num_classes, pretrained=pretrained, download=download)
    if model_class == USER:
        from Models import user

        return user.network(name, input_shape, num_classes)
    return factory(name, model_class)(input_shape, num_classes, dense_classifier)


def _text(input_shape: tuple[int, int, int]) -> str:
    return "x".join(str(size) for size in input_shape)


def describe() -> list[tuple[str, str, int]]:
    """List (class, name, number of parameters) of every registered network at the shape that its class was made for."""
    import torch

    rows = []
    with torch.device("meta"):  # no memory, no random numbers
        for model_class, table in CLASSES.items():
            for name in table:
                model = factory(name, model_class)(*NATURAL[model_class])
                rows.append((model_class, name, sum(p.numel() for p in model.parameters())))
    return rows
