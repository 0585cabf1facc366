"""torchvision's classes."""

import socket
import threading

import numpy as np
import pytest
from PIL import Image
from test_download import recorded_requests
from trees import idx, refused

from Utils.data import torchvision_sets
from Utils.data.mnist import FILES
from Utils.data.open_set import open_dataset
from Utils.data.reading import Place


def test_kmnist_is_a_set_of_one_channel(tmp_path, monkeypatch):
    folder = tmp_path / "KMNIST/raw"
    folder.mkdir(parents=True)
    for file, shape in zip(FILES, [(20, 28, 28), (20,), (10, 28, 28), (10,)], strict=True):
        (folder / file).write_bytes(idx(np.resize(np.arange(10, dtype=np.uint8), shape)))
    data = open_dataset("KMNIST", tmp_path, download=False)
    assert data.input_shape == (1, 28, 28) and (data.num_classes, data.train_size, data.test_size) == (10, 20, 10)
    assert data.augment == "none"
    data.load()
    assert data.train_labels.tolist() == list(range(10)) * 2
    assert data._train.images.shape == (20, 1, 28, 28)
    assert open_dataset("KMNIST", tmp_path, download=False, augment="crop-flip").augment == "crop-flip"


class ValidationOnly:
    """A torchvision-like set with a split named val and no training list of labels."""

    def __init__(self, root, split="train", transform=None, target_transform=None):
        if split not in ("train", "val"):
            raise ValueError(f"Unknown value '{split}' for argument split.")
        self.split = split

    def __len__(self):
        return 6 if self.split == "train" else 3

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        return Image.new("RGB", (10, 10), (index, 0, 0)), index % 3


def test_splits_and_labels_are_found(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets, "Imagenette", ValidationOnly)
    data = open_dataset("Imagenette", tmp_path)
    data.load()
    assert (data.num_classes, data.train_size, data.test_size, data.augment) == (3, 6, 3, "crop-flip")
    assert data.train_labels.tolist() == [0, 1, 2, 0, 1, 2] and data._train.images[:, 0, 0, 0].tolist() == list(range(6))
    monkeypatch.setattr(torchvision.datasets, "SVHN", ValidationOnly)
    for size in (None, 72):  # small images, and such as are decoded anew in each epoch
        assert open_dataset("SVHN", tmp_path, image_size=size).augment == "none"
    assert open_dataset("Imagenette", tmp_path, image_size=72).augment == "imagenet"


@pytest.mark.parametrize("name", ["FakeData", "VOCDetection", "CelebA", "EuroSAT", "ImageFolder", "LSUN", "nope", "Kitti"])
def test_other_torchvision_names_are_refused(name, tmp_path):
    refused(lambda: open_dataset(name, tmp_path), repr(name), "choose from mnist", "folder:PATH")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["SVHN", "KMNIST", "USPS", "STL10", "GTSRB", "EMNIST", "QMNIST", "Food101", "FER2013"])
def test_torchvision_sets_that_are_not_there(name, tmp_path):
    folder = tmp_path / "x"
    refused(lambda: open_dataset(name, folder, download=False), name, folder, "--no-download was given", "--data-dir")
    assert not (tmp_path / "x").exists()


def test_torchvision_sets_give_up_on_a_silent_network(tmp_path, monkeypatch):
    asked = recorded_requests(monkeypatch)
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: waiting.wait(20))
    place = Place(tmp_path, patience=0.3)
    refused(lambda: torchvision_sets.open_pair("KMNIST", place), "KMNIST", tmp_path, "could not be downloaded", "--data-dir")
    waiting.set()
    ((_, patience),) = asked  # of the first mirror; the others are not asked
    assert patience == 0.3
