"""Opening datasets: sizes, options, and files that are not there."""

import pytest
import torch
from trees import refused

from Utils.data.catalogue import named_sets
from Utils.data.open_set import open_dataset


def test_named_sets_are_known_without_their_files(tmp_path):
    facts = {name: open_dataset(name, tmp_path, download=False) for name in named_sets()}
    shapes = {name: (*data.input_shape, data.num_classes, data.train_size, data.test_size) for name, data in facts.items()}
    assert shapes == {
        "mnist": (1, 28, 28, 10, 60000, 10000),
        "fashion-mnist": (1, 28, 28, 10, 60000, 10000),
        "cifar10": (3, 32, 32, 10, 50000, 10000),
        "cifar100": (3, 32, 32, 100, 50000, 10000),
        "tiny-imagenet": (3, 64, 64, 200, 100000, 10000),
        "imagenet": (3, 224, 224, 1000, 1281167, 50000),
    }
    assert [data.augment for data in facts.values()] == ["none", "none", "crop-flip", "crop-flip", "crop-flip", "imagenet"]
    assert facts["cifar100"].mean == (0.507, 0.487, 0.441) and facts["tiny-imagenet"].std == (0.276, 0.269, 0.282)
    assert open_dataset("FashionMNIST", tmp_path).name == "fashion-mnist"
    small = open_dataset("imagenet", tmp_path, image_size=32)
    assert small.input_shape == (3, 32, 32) and small.augment == "crop-flip"
    assert list(tmp_path.iterdir()) == []


def test_sets_of_one_size_are_resized_batch_by_batch():
    from torchvision.transforms.v2.functional import resize

    plain, large = (open_dataset("synthetic:1x8x8:3:20", image_size=size) for size in (None, 12))
    plain.load(), large.load()
    assert (plain.input_shape, large.input_shape) == ((1, 8, 8), (1, 12, 12))
    (x, _), (y, _) = next(plain.test_batches(4)), next(large.test_batches(4))
    pixels = plain._test.images[:4]
    assert x.shape == (4, 1, 8, 8) and torch.equal(y, large._test.normalise(resize(pixels, [12, 12], antialias=True)))
    assert next(large.train_batches(7, 1, "post_train", 1))[0].shape == (7, 1, 12, 12)


def test_options_that_do_not_fit():
    refused(lambda: open_dataset("mnist", augment="mixup"), "'mixup'", "none, crop-flip, imagenet")
    refused(lambda: open_dataset("cifar10", augment="imagenet"), "more than 64 pixels", "crop-flip")
    refused(lambda: open_dataset("synthetic:3x96x96:2", augment="imagenet"), "choose none or crop-flip")
    refused(lambda: open_dataset("cifar10", image_size=0), "image size 0", "4096")
    refused(lambda: open_dataset("folder:x", image_size=0), "image size 0")
    assert open_dataset("cifar10", image_size=32, augment="none").augment == "none"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fashion-mnist", "t10k-labels-idx1-ubyte.gz"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("tiny-imagenet", "tiny-imagenet-200.zip"),
    ],
)
def test_no_download_names_everything(name, file, tmp_path):
    load = open_dataset(name, tmp_path / "data", download=False).load
    refused(load, name, tmp_path / "data", file, "--data-dir", "--no-download was given")
    dead = open_dataset(name, tmp_path / "data", mirror="http://127.0.0.1:9").load
    refused(dead, name, tmp_path / "data", file, "--data-dir", "could not be downloaded")
    assert not (tmp_path / "data").exists()
