"""The datasets by name: what can be said about each without reading a file, for the command line and its help."""

from __future__ import annotations

import re
from dataclasses import dataclass

from Utils.base.errors import Refused

AUGMENTATIONS = ("none", "crop-flip", "imagenet")
SMALL = 64  # pixels on either side up to which a set is held on the device
_SYNTHETIC = re.compile(r"synthetic:(\d{1,4})x(\d{1,4})x(\d{1,4}):(\d{1,6})(?::(\d{1,9}))?", re.ASCII)
MAX_BYTES = 1 << 31
# torchvision's sets of digits, letters, text and traffic signs: a mirror image may be another class, or none
NOT_MIRRORED = {"EMNIST", "GTSRB", "KMNIST", "QMNIST", "RenderedSST2", "SVHN", "USPS"}


@dataclass(frozen=True)
class Named:
    """The constants of a named set; without `mean` and `std` those of its training images are taken."""

    shape: tuple[int, int, int]
    classes: int
    train_size: int
    test_size: int
    augment: str
    source: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


_CIFAR_URL = "www.cs.toronto.edu/~kriz"
NAMED = {
    "mnist": Named((1, 28, 28), 10, 60000, 10000, "none", "comes with the project", (0.1307,), (0.3081,)),
    "fashion-mnist": Named((1, 28, 28), 10, 60000, 10000, "none", "fashion-mnist.s3-website.eu-central-1.amazonaws.com"),
    "cifar10": Named((3, 32, 32), 10, 50000, 10000, "crop-flip", _CIFAR_URL, (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
    "cifar100": Named((3, 32, 32), 100, 50000, 10000, "crop-flip", _CIFAR_URL, (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
    "tiny-imagenet": Named(
        (3, 64, 64), 200, 100000, 10000, "crop-flip", "cs231n.stanford.edu", (0.480, 0.448, 0.397), (0.276, 0.269, 0.282)
    ),
    "imagenet": Named(
        (3, 224, 224),
        1000,
        1281167,
        50000,
        "imagenet",
        "never downloaded: imagenet/{train,val} in the data folder",
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    ),
}
NAMES: tuple[str, ...] = tuple(NAMED)
ALIASES = {
    "MNIST": "mnist",
    "FashionMNIST": "fashion-mnist",
    "CIFAR10": "cifar10",
    "CIFAR100": "cifar100",
    "ImageNet": "imagenet",
}
CHOICES = (
    f"{', '.join(NAMES)}, folder:PATH, synthetic:CxHxW:CLASSES[:N], or the name of a torchvision classification set such as SVHN"
)


def check_name(name: str) -> None:
    """Raise `Refused` if `name` can be no dataset's; looks at the text alone."""
    if name.startswith("synthetic:"):
        parse_synthetic(name)
    elif name.startswith("folder:"):
        if not name.removeprefix("folder:").strip():
            raise Refused(f"dataset {name!r} lacks the path: folder:PATH, with PATH/train and PATH/test or PATH/val")
    elif name not in NAMES and not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise Refused(f"dataset {name!r}: choose from {CHOICES}")


def parse_synthetic(name: str) -> tuple[tuple[int, int, int], int, int]:
    """((C, H, W), classes, training images) of a synthetic set's name."""
    form = "synthetic:CxHxW:CLASSES[:N], as synthetic:3x32x32:10:1000"
    match = _SYNTHETIC.fullmatch(name)
    if not match:
        raise Refused(f"dataset {name!r} is not of the form {form}")
    channels, height, width, classes, count = (int(text or 1000) for text in match.groups())
    if min(channels, height, width) < 1 or classes < 2 or count < classes:
        raise Refused(f"dataset {name!r}: {form} needs sizes of at least 1, 2 classes, and an image per class")
    if channels * height * width * count > MAX_BYTES:
        raise Refused(f"dataset {name!r} is too large: C * H * W * N may be {MAX_BYTES} at most")
    return (channels, height, width), classes, count


def describe() -> list[dict[str, str]]:
    """A row per named set, and one for each other way to name a set, for `--list datasets`."""
    keys = ("name", "shape", "classes", "train", "test", "mean", "std", "augmentation", "source")
    own = "of its training images"
    rows = []
    for name, facts in NAMED.items():
        mean, std = ("/".join(f"{value:g}" for value in values) or own for values in (facts.mean, facts.std))
        sizes = (str(facts.classes), str(facts.train_size), str(facts.test_size))
        rows.append((name, "x".join(map(str, facts.shape)), *sizes, mean, std, facts.augment, facts.source))
    by_size = "crop-flip up to 64 pixels, else imagenet"
    rows += [
        ("folder:PATH", "3xHxW", "*", "*", "*", own, own, by_size, "PATH/train/<class>/, PATH/test/<class>/ (or val)"),
        ("synthetic:CxHxW:CLASSES[:N]", "CxHxW", "CLASSES", "N (1000)", "N/5", own, own, "none", "made up from the name"),
        ("SVHN, KMNIST, GTSRB, ...", "CxHxW", "*", "*", "*", own, own, f"{by_size}; digits none", "torchvision, by class name"),
    ]
    return [dict(zip(keys, row, strict=True)) for row in rows]
