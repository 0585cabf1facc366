"""The options about the network: its name, its family, its initial weights."""

from __future__ import annotations

from dataclasses import dataclass

from Utils.options.option import option


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class NetworkOptions:
    """The options of the network."""

    model: str = option(
        "network",
        "network (see --list models), a torchvision name, or FILE.py:FUNCTION",
        "fc",
        paces=True,
        step_time=True,
        common=True,
    )
    model_class: str | None = option(
        "model",
        "family of the network; default: by dataset and name",
        None,
        choices=("default", "lottery", "tinyimagenet", "imagenet", "torchvision"),
        paces=True,
        step_time=True,
    )
    dense_classifier: bool = option("model", "leave the last layer unpruned", False, None)
    pretrained: bool = option("model", "start from torchvision's pretrained weights", False, None)
    weights: str | None = option("model", "start from the state_dict in this file", step_time=True, file=True)
    weights_dense: bool = option(
        "model", "with --weights: ignore masks and zeros of the file, train and prune all weights", False, None, late=True
    )
