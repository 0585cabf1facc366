"""The words of an assignment's report: names of networks, datasets and methods, and numbers with their units."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from Utils.runs.saved import last_part, shortened

METHODS = {"rand": "Rand", "mag": "Mag", "snip": "SNIP", "grasp": "GraSP", "synflow": "SynFlow"}  # the assignment's five
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST", "tiny-imagenet": "Tiny ImageNet",
            "imagenet": "ImageNet"}  # fmt: skip
MODELS = (
    (r"fc", "FC"),
    (r"conv", "Conv"),
    (r"resnet(\d+)", r"ResNet\1"),
    (r"wide-resnet(\d+)", r"Wide ResNet\1"),
    (r"vgg(\d+)", r"VGG\1"),
    (r"vgg(\d+)[-_]bn", r"VGG\1 with BatchNorm"),
)


def network_name(model: str) -> str:
    """Return the name of a network in a sentence: `resnet20` -> ResNet20, `/a/net.py:build` -> net.py:build."""
    last = last_part(model)
    found = (match.expand(name) for pattern, name in MODELS if (match := re.fullmatch(pattern, last)))
    return next(found, shortened(last))


def dataset_name(dataset: str) -> str:
    """Return the name of a dataset in a sentence: `cifar10` -> CIFAR-10; of a folder the last part of its path."""
    if dataset.startswith("folder:"):
        return shortened(last_part(dataset).removeprefix("folder:"))
    return DATASETS.get(dataset, shortened(dataset))


def subject_name(model: str, dataset: str) -> str:
    """Return network and dataset in words, as `ResNet20 on CIFAR-10`."""
    return f"{network_name(model)} on {dataset_name(dataset)}"


def method_name(method: str) -> str:
    """Return the name of a method, which words after a comma may follow, as the assignment writes it."""
    first, comma, rest = method.partition(",")
    return METHODS.get(first, first) + comma + rest


def several(words: Iterable[object], joint: str = "and") -> str:
    """Join words to a phrase: `a, b and c`; each occurs once."""
    found = list(dict.fromkeys(map(str, words)))
    return f" {joint} ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def share(part: float) -> str:
    """Write a share in percent with three digits: 0.3162 -> 31.6 %."""
    return f"{100 * part:.3g}\u00a0%"


def by_method(values: Sequence[tuple[str, str]]) -> str:
    """Join values by their methods: [("Mag", "200"), ("Rand", "0"), ("SNIP", "0")] -> `200 for Mag; 0 for Rand and SNIP`."""
    found: dict[str, list[str]] = {}
    for method, value in values:
        found.setdefault(value, []).append(method)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} for {several(methods)}" for value, methods in found.items())
