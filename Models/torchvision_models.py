"""Any classification network of torchvision by its name, untrained or with torchvision's weights."""

from __future__ import annotations

import difflib
import http.client
import os
import pickle
from urllib.parse import urlparse

import torch
import torchvision
from torch import nn

from Models.layers import InputShape
from Utils.base.errors import Refused
from Utils.base.network import bounded_network
from Utils.base.tensor_files import tensors_alone
from Utils.base.text import one_line


def names() -> list[str]:
    """List the names of torchvision's classification networks."""
    return torchvision.models.list_models(module=torchvision.models)


def network(
    name: str, input_shape: InputShape, num_classes: int, *, pretrained: bool = False, download: bool = True
) -> nn.Module:
    """Build the network called `name` (dashes or underscores): [B, *input_shape] -> [B, num_classes].

    With `pretrained` it has torchvision's default weights. The last layer is a new one if `num_classes` is not theirs. For other
    than three input channels the weights of the first convolution are their mean, repeated.

    Raises:
        Refused: unknown name, or weights that cannot be downloaded.
        ValueError: sizes that torchvision itself rejects.
    """
    builder = name.replace("-", "_")
    if builder not in names():
        close = difflib.get_close_matches(builder, names(), n=5, cutoff=0.5)
        hint = f"; the closest names: {', '.join(close)}" if close else f"; it has {', '.join(names())}"
        raise Refused(f"--model {name}: torchvision has no such classification model{hint}")
    model = _pretrained(builder, num_classes, download) if pretrained else _untrained(builder, input_shape, num_classes)
    if input_shape[0] != 3:
        replace_first_conv(model, input_shape[0], average=pretrained)
        if getattr(model, "transform_input", False):
            model.transform_input = False  # it rescales red, green and blue, which are not there
    return model


def _untrained(builder: str, input_shape: InputShape, num_classes: int) -> nn.Module:
    options: dict[str, object] = {}
    if builder in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    elif builder.startswith("vit_"):
        if input_shape[1] != input_shape[2]:
            raise ValueError("a vision transformer takes square images")
        options = {"image_size": input_shape[1]}
    elif builder.startswith("maxvit"):
        options = {"input_size": input_shape[1:]}
    return torchvision.models.get_model(builder, weights=None, num_classes=num_classes, **options)


def _pretrained(builder: str, num_classes: int, download: bool) -> nn.Module:
    weights = torchvision.models.get_model_weights(builder).DEFAULT
    url = weights.url
    file = os.path.join(torch.hub.get_dir(), "checkpoints", os.path.basename(urlparse(url).path))
    if not download and not os.path.exists(file):
        raise Refused(f"--pretrained needs {url}, which is not at {file}, and downloads are not allowed")
    try:
        with bounded_network(True), tensors_alone():  # torch.hub checks no file that is there already, and would run it
            model = torchvision.models.get_model(builder, weights=weights)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        raise Refused(f"--pretrained could not download {url}: {_one_line(error)}") from error
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:  # a wrong checksum or a spoilt file
        raise Refused(f"--pretrained cannot use {url}, kept at {file}: {_one_line(error)}") from error
    if builder == "inception_v3":  # its weights come with the auxiliary classifier, which has to be there while they load
        model.aux_logits, model.AuxLogits = False, None
    if num_classes != len(weights.meta["categories"]):
        replace_last_layer(model, num_classes)
    return model


def _one_line(error: Exception) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def replace_first_conv(model: nn.Module, channels: int, *, average: bool = False) -> nn.Conv2d:
    """Give the first convolution of `model` `channels` input channels, in place, and return the new layer.

    The weights are drawn anew; with `average` they are the mean over the old input channels, [out, 1, k, k], repeated.

    Raises:
        ValueError: there is no convolution, or the first one is grouped.
    """
    path, old = next(((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d)), ("", None))
    if old is None or old.groups != 1:
        raise ValueError(f"its first convolution cannot take {channels} input channels")
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,
        old.stride,
        old.padding,
        old.dilation,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
    if average:
        with torch.no_grad():
            new.weight.copy_(old.weight.mean(dim=1, keepdim=True).expand_as(new.weight))
            if new.bias is not None:
                new.bias.copy_(old.bias)
    model.set_submodule(path, new)
    return new


def replace_last_layer(model: nn.Module, num_classes: int) -> nn.Linear | nn.Conv2d:
    """Replace the last Linear or Conv2d layer of `model` by a new one with `num_classes` outputs, in place."""
    path, old = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    bias = old.bias is not None
    if isinstance(old, nn.Linear):
        new: nn.Linear | nn.Conv2d = nn.Linear(old.in_features, num_classes, bias)
    else:
        new = nn.Conv2d(old.in_channels, num_classes, old.kernel_size, old.stride, old.padding, bias=bias)
    model.set_submodule(path, new)
    return new
