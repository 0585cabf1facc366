"""The catalogue of datasets by name, with their constants and readers.

It is plain data and imports no torch. A new dataset takes two files: one with its reader, and this one with an entry in
`DATASETS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from Utils.base.errors import Refused
from Utils.base.text import did_you_mean

AUGMENTATIONS = ("none", "crop-flip", "imagenet")
SMALL = 64  # pixels on either side up to which images are held on the device as one tensor
MAX_BYTES = 1 << 31
_FOLDER = "folder:"
_SYNTHETIC_FORM = "synthetic:CxHxW:CLASSES[:N]"
_SYNTHETIC = re.compile(r"synthetic:(\d{1,4})x(\d{1,4})x(\d{1,4}):(\d{1,6})(?::(\d{1,9}))?", re.ASCII)


@dataclass(frozen=True)
class Facts:
    """The constants of a set.

    Attributes:
        shape: (C, H, W) of its images.
        classes: the number of classes.
        train_size: the number of training images.
        test_size: the number of test images.
        augment: the default augmentation.
        mean: per channel, in units of pixel / 255; without it, mean and deviation are those of the training images.
        std: likewise.
        one_size: whether all images have `shape`: they are read as they are, and resized batch by batch. Other sets are cut to
            `--image-size`, else to `shape`, as they are read.
    """

    shape: tuple[int, int, int]
    classes: int
    train_size: int
    test_size: int
    augment: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    one_size: bool = True

    def at(self, image_size: int | None) -> Facts:
        """Return the facts of the set as it is read with `--image-size image_size`."""
        if self.one_size or image_size is None:
            return self
        return replace(self, shape=(self.shape[0], image_size, image_size), augment=augment_for(image_size))


@dataclass(frozen=True)
class Entry:
    """A dataset, or all datasets whose names have one form.

    Attributes:
        reader: "module:function"; the function is f(name, place, image_size) -> `Contents` (see `Utils.data.reading`).
        source: the origin of the files, in words.
        facts: the constants; None where only the name or the files tell them.
        aliases: other names.
        pattern: of a form of names, the names that have it.
        parse: of a form of names, a check of one name that returns the facts in it.
        texts: of a form of names, the cells of `--list`.
        wording: the form in a sentence, if that is not the entry's name.
    """

    reader: str
    source: str
    facts: Facts | None = None
    aliases: tuple[str, ...] = ()
    # For a form of names only.
    pattern: re.Pattern[str] | None = None
    parse: Callable[[str], Facts | None] | None = None
    texts: tuple[str, str, str, str, str] | None = None  # shape, classes, training images, test images, augmentation
    wording: str = ""  # in a sentence


def augment_for(size: int) -> str:
    """Return the default augmentation of colour images of `size` pixels on the longer side."""
    return "crop-flip" if size <= SMALL else "imagenet"


def folder_of(name: str) -> Path | None:
    """Return the absolute path in a name of the form folder:PATH; None for other names."""
    return Path(name.removeprefix(_FOLDER)).expanduser().absolute() if name.startswith(_FOLDER) else None


def _parse_folder(name: str) -> None:
    if not name.removeprefix(_FOLDER).strip():
        raise Refused(f"dataset {name!r} lacks the path: folder:PATH, with PATH/train and PATH/test or PATH/val")


def parse_synthetic(name: str) -> Facts:
    """Parse the name of a synthetic set.

    Raises:
        Refused: the name is not of that form, or a number is out of bounds.
    """
    form = f"{_SYNTHETIC_FORM}, as synthetic:3x32x32:10:1000"
    match = _SYNTHETIC.fullmatch(name)
    if not match:
        raise Refused(f"dataset {name!r} is not of the form {form}")
    channels, height, width, classes, count = (int(text or 1000) for text in match.groups())
    if min(channels, height, width) < 1 or classes < 2 or count < classes:
        raise Refused(f"dataset {name!r}: {form} needs sizes of at least 1, 2 classes, and an image per class")
    if channels * height * width * count > MAX_BYTES:
        raise Refused(f"dataset {name!r} is too large: C * H * W * N may be {MAX_BYTES} at most")
    return Facts((channels, height, width), classes, count, max(1, count // 5), "none")


_BY_SIZE = "crop-flip up to 64 pixels, else imagenet"
DATASETS: dict[str, Entry] = {
    "mnist": Entry(
        "Utils.data.mnist:read",
        "comes with the project",
        Facts((1, 28, 28), 10, 60000, 10000, "none", (0.1307,), (0.3081,)),
        aliases=("MNIST",),
    ),
    "fashion-mnist": Entry(
        "Utils.data.mnist:read",
        "fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        Facts((1, 28, 28), 10, 60000, 10000, "none"),
        aliases=("FashionMNIST",),
    ),
    "cifar10": Entry(
        "Utils.data.cifar:read",
        "www.cs.toronto.edu/~kriz",
        Facts((3, 32, 32), 10, 50000, 10000, "crop-flip", (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)),
        aliases=("CIFAR10",),
    ),
    "cifar100": Entry(
        "Utils.data.cifar:read",
        "www.cs.toronto.edu/~kriz",
        Facts((3, 32, 32), 100, 50000, 10000, "crop-flip", (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)),
        aliases=("CIFAR100",),
    ),
    "tiny-imagenet": Entry(
        "Utils.data.tiny_imagenet:read",
        "cs231n.stanford.edu",
        Facts((3, 64, 64), 200, 100000, 10000, "crop-flip", (0.480, 0.448, 0.397), (0.276, 0.269, 0.282)),
    ),
    "imagenet": Entry(
        "Utils.data.imagenet:read",
        "never downloaded: imagenet/{train,val} in the data folder",
        Facts((3, 224, 224), 1000, 1281167, 50000, "imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), one_size=False),
        aliases=("ImageNet",),
    ),
    "folder:PATH": Entry(
        "Utils.data.image_folder:read",
        "PATH/train/<class>/, PATH/test/<class>/ (or val)",
        pattern=re.compile(f"{_FOLDER}.*", re.DOTALL),
        parse=_parse_folder,
        texts=("3xHxW", "*", "*", "*", _BY_SIZE),
    ),
    _SYNTHETIC_FORM: Entry(
        "Utils.data.synthetic:read",
        "made up from the name",
        pattern=re.compile("synthetic:.*", re.DOTALL),
        parse=parse_synthetic,
        texts=("CxHxW", "CLASSES", "N (1000)", "N/5", "none"),
    ),
    "SVHN, KMNIST, GTSRB, ...": Entry(
        "Utils.data.torchvision_sets:read",
        "torchvision, by class name",
        pattern=re.compile("[A-Za-z][A-Za-z0-9_]*"),
        texts=("CxHxW", "*", "*", "*", f"{_BY_SIZE}; digits none"),
        wording="the name of a torchvision classification set such as SVHN",
    ),
}


def named_sets() -> list[str]:
    """List the sets that have a name of their own."""
    return [name for name, entry in DATASETS.items() if entry.pattern is None]


def choices() -> str:
    """List the names and the forms of names, for a message."""
    *forms, last = (entry.wording or form for form, entry in DATASETS.items() if entry.pattern)
    return f"{', '.join([*named_sets(), *forms])}, or {last}"


def own_name(name: str) -> str:
    """Replace an alias by the name in `DATASETS`; any other name stays."""
    return next((own for own, entry in DATASETS.items() if name in entry.aliases), name)


def find(name: str) -> tuple[Entry, Facts | None]:
    """Return the entry of a dataset's name, and the facts that are known from the name alone; no file is read.

    Raises:
        Refused: no dataset can have that name.
    """
    entry = DATASETS.get(own_name(name))
    if entry is None or entry.pattern:
        entry = next((each for each in DATASETS.values() if each.pattern and each.pattern.fullmatch(name)), None)
    if entry is None:
        raise Refused(f"dataset {name!r}: {did_you_mean(name, named_sets())}choose from {choices()}")
    return entry, entry.parse(name) if entry.parse else entry.facts


def describe() -> list[dict[str, str]]:
    """Return a row for each entry, for `--list datasets`."""
    keys = ("name", "shape", "classes", "train", "test", "mean", "std", "augmentation", "source")
    rows = []
    for name, entry in DATASETS.items():
        facts, texts, statistics = entry.facts, entry.texts or ("*",) * 5, [(), ()]
        if facts:
            sizes = (facts.classes, facts.train_size, facts.test_size)
            texts = ("x".join(map(str, facts.shape)), *map(str, sizes), facts.augment)
            statistics = [facts.mean, facts.std]
        shown = ("/".join(f"{value:g}" for value in values) or "of its training images" for values in statistics)
        rows.append(dict(zip(keys, (name, *texts[:4], *shown, texts[4], entry.source), strict=True)))
    return rows
