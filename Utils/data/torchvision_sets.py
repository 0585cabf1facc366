"""The reader of torchvision's classification sets by class name: `SVHN`, `KMNIST`, `GTSRB`, ..."""

from __future__ import annotations

import inspect
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets

from Utils.base.errors import Refused
from Utils.base.network import bounded_network
from Utils.base.tensor_files import tensors_alone
from Utils.base.text import did_you_mean, one_line
from Utils.data.catalogue import choices, named_sets
from Utils.data.decoding import convert
from Utils.data.download import folder_lock, missing
from Utils.data.image_files import read_described
from Utils.data.reading import Contents, Place

# Sets whose constructors look like those of classification sets, although their targets are not classes.
_OTHER_TARGETS = {"CelebA", "Cityscapes", "Kitti", "LFWPairs", "MovingMNIST", "WIDERFace"}
# Sets of digits, letters, text and traffic signs: a mirror image may belong to another class, or to none.
NOT_MIRRORED = {"EMNIST", "GTSRB", "KMNIST", "QMNIST", "RenderedSST2", "SVHN", "USPS"}
_SPLITS = (("train", "trainval"), ("test", "val", "valid"))
_LABEL_LISTS = ("targets", "labels", "_labels")  # attributes in which sets keep all labels


@dataclass
class SetImages:
    """The images of a torchvision set."""

    data: Any
    mode: str

    def __len__(self) -> int:
        return len(self.data)

    def content(self, index: int) -> Any:
        """Return image `index` as the set has it."""
        try:
            return self.data[index][0]
        except (OSError, SyntaxError, ValueError) as error:
            raise Refused(f"cannot read {self._place(index)} ({_line(error)})") from error

    def image(self, index: int, content: Any = None) -> Any:
        """Return image `index` as a PIL image of mode L or RGB."""
        image = self.content(index) if content is None else content
        if image.mode == self.mode == "L" and "transparency" not in image.info:
            return image
        rgb = convert(image, self._place(index), upright=False)  # sets turn their images themselves, or leave them as published
        return rgb.convert("L") if self.mode == "L" else rgb

    def _place(self, index: int) -> str:
        return f"image {index} of torchvision.datasets.{type(self.data).__name__} in {getattr(self.data, 'root', '')}"


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Read both parts of the torchvision class `name`; missing files are downloaded if that is allowed.

    Raises:
        Refused: there is no such class, it is not a classification set with a training and a test part, or its files are missing
            and cannot be fetched.
    """
    contents, classes = sources(name, *open_pair(name, place))
    channels = 1 if contents.train.mode == "L" else 3
    return read_described(contents, channels, classes, image_size, name, mirrored=name not in NOT_MIRRORED)


def open_pair(name: str, place: Place) -> tuple[Any, Any]:
    """Open the training and the test set of the torchvision class `name`; raises as `read`."""
    set_class = getattr(datasets, name, None)
    if not (name in datasets.__all__ and inspect.isclass(set_class)) or not _classifies(name, set_class):
        raise Refused(_no_such_set(name))
    try:
        return _construct_pair(set_class, place, download=False)
    except (RuntimeError, OSError) as error:
        reason = "--no-download was given" if not place.download else f"torchvision does not download it ({_line(error)})"
    if place.download and _takes(set_class, "download"):
        new = not place.data_dir.exists()
        try:
            with folder_lock(place.data_dir), bounded_network(True, patience=place.patience):
                return _construct_pair(set_class, place, download=True)
        except (RuntimeError, OSError, ValueError) as error:
            if new:
                shutil.rmtree(place.data_dir, ignore_errors=True)  # a failed download leaves no folder behind
            if isinstance(error, Refused):
                raise
            reason = f"could not be downloaded ({_line(error)})"
    raise missing(name, [f"the files of torchvision.datasets.{name}"], [place.data_dir], reason)


def _no_such_set(name: str) -> str:
    near = did_you_mean(name, named_sets())
    return f"{name!r} is not a classification set with a training and a test part; {near}choose from {choices()}"


def _line(error: Exception) -> str:
    return one_line(str(error)) or type(error).__name__


def _takes(set_class: type, name: str) -> bool:
    parameters = inspect.signature(set_class).parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _classifies(name: str, set_class: type) -> bool:
    """Tell whether the constructor is that of a classification set in two parts."""
    parameters = inspect.signature(set_class).parameters
    required = [
        key
        for key, each in parameters.items()
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD and (name, key) != ("EMNIST", "split")
    ]
    parted = "train" in parameters or "split" in parameters
    return name not in _OTHER_TARGETS and required == ["root"] and parted and _takes(set_class, "target_transform")


def _construct_pair(set_class: type, place: Place, download: bool) -> tuple[Any, Any]:
    options = {"download": download} if _takes(set_class, "download") else {}
    root = str(place.data_dir)
    if set_class.__name__ == "EMNIST":
        options["split"] = "balanced"
    if "train" in inspect.signature(set_class).parameters or "split" in options:
        return tuple(_construct(set_class, root, train=train, **options) for train in (True, False))
    return tuple(_first_split(set_class, root, splits, options) for splits in _SPLITS)


def _first_split(set_class: type, root: str, splits: Sequence[str], options: dict[str, Any]) -> Any:
    """Open the set's part under the first of the names `splits` that it knows."""
    for split in splits:
        try:
            return _construct(set_class, root, split=split, **options)
        except ValueError as error:
            if "argument split" not in str(error):
                raise
    raise Refused(_no_such_set(set_class.__name__))


def _construct(set_class: type, root: str, **options: Any) -> Any:
    try:
        with tensors_alone():  # some sets keep tensors that torch.load reads
            return set_class(root, **options)
    except (ImportError, pickle.UnpicklingError) as error:
        raise Refused(f"torchvision.datasets.{set_class.__name__} cannot be read here: {_line(error)}") from error


def sources(name: str, train: Any, test: Any) -> tuple[Contents, int]:
    """Return images and labels of both parts, and the number of classes. Mode L gives one channel, all others RGB."""
    image, label = (*train[0], None, None)[:2]
    if not isinstance(image, Image.Image) or isinstance(label, bool) or not hasattr(label, "__index__"):
        raise Refused(_no_such_set(name))
    mode = "L" if image.mode == "L" else "RGB"
    train_labels, test_labels = _labels(train), _labels(test)
    classes = len(getattr(train, "classes", ())) or int(train_labels.max()) + 1
    low, high = (int(f(torch.cat([train_labels, test_labels]))) for f in (torch.min, torch.max))
    if low < 0 or high >= classes:
        raise Refused(f"{name} has labels from {low} to {high}, but {classes} classes")
    return Contents(SetImages(train, mode), train_labels, SetImages(test, mode), test_labels), classes


def _labels(data: Any) -> Tensor:
    """Return all labels, int64, without decoding images if the set keeps a list of labels."""
    for attribute in _LABEL_LISTS:
        found = getattr(data, attribute, None)
        if found is not None and len(found) == len(data):
            return torch.as_tensor(found).long()
    samples = getattr(data, "_samples", None)
    if samples is not None and len(samples) == len(data):
        return torch.tensor([int(sample[1]) for sample in samples])
    return torch.tensor([int(data[index][1]) for index in range(len(data))])
