"""Datasets: names, real MNIST, synthetic sets."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trees import idx, refused

from Utils.data import catalogue, datasets, namedsets
from Utils.data.batches import statistics
from Utils.data.datasets import NAMES, check_name, describe, open_dataset
from Utils.data.download import md5_of

ROOT = Path(datasets.__file__).parents[2]


# Names


GOOD = [*NAMES, "SVHN", "MNIST", "folder:/x", "folder:a b", "synthetic:3x32x32:10", "synthetic:1x1x1:2:2", "synthetic:3x8x9:4:9"]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("cifar-10", "choose from mnist, fashion-mnist"),
        ("", "choose from"),
        ("../x", "choose from"),
        ("folder:", "folder:PATH"),
        ("synthetic:", "synthetic:CxHxW:CLASSES[:N]"),
        ("synthetic:3x32:10", "CxHxW"),
        ("synthetic:3x32x32", "CxHxW"),
        ("synthetic:3x32x32:10:", "CxHxW"),
        ("synthetic:0x32x32:10", "at least 1"),
        ("synthetic:3x32x32:-1", "CxHxW"),
        ("synthetic:3x32x32:0", "2 classes"),
        ("synthetic:3x32x32:10:0", "an image per class"),
        ("synthetic:3x9999x9999:10:1000", "too large"),
        ("synthetic:3x32x32:10:99999999999", "CxHxW"),
        ("synthetic:3x32x32:10 ", "CxHxW"),
        ("synthetic:٣x32x32:10", "CxHxW"),
    ],
)
def test_bad_names(name, word):
    refused(lambda: check_name(name), repr(name), word)


def test_the_command_line_needs_no_torch():
    code = "import sys, Utils.data.datasets as d; d.describe(); d.check_name('cifar10'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_named_sets_are_known_without_their_files(tmp_path):
    facts = {name: open_dataset(name, tmp_path, download=False) for name in NAMES}
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


def test_describe_has_a_row_for_every_kind():
    rows = describe()
    assert [row["name"] for row in rows][: len(NAMES)] == list(NAMES) and len(rows) == len(NAMES) + 3
    assert all(isinstance(value, str) and value for row in rows for value in row.values())
    assert rows[2]["mean"] == "0.491/0.482/0.447" and rows[2]["shape"] == "3x32x32"


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


# MNIST


def test_real_mnist_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = open_dataset("mnist", download=False)
    data.load()
    data.load()
    assert (len(data.train_labels), len(data.test_labels)) == (60000, 10000)
    assert data.train_labels[:5].tolist() == [5, 0, 4, 1, 9] and data.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert data.train_labels.dtype == torch.int64
    images, labels = next(data.test_batches(64))
    assert images.shape == (64, 1, 28, 28) and labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert images.min() == (torch.tensor(0.0) - 0.1307) / 0.3081
    [(images, labels)] = data.subset_batches(torch.tensor([3, 0]), 8)
    assert labels.tolist() == [1, 5] and images.mean().abs() < 0.5
    counts = [len(labels) for _, labels in data.train_batches(64, 1, "post-train", 0)]
    assert len(counts) == 938 and counts[-1] == 32
    mean, std = statistics(data._train.images)
    assert mean == (pytest.approx(0.1307, abs=1e-4),) and std == (pytest.approx(0.3081, abs=1e-4),)
    assert list(tmp_path.iterdir()) == []


def test_idx_files_by_hand(tmp_path):
    array = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    (tmp_path / "plain").write_bytes(idx(array))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("plain", "packed.gz"):
        assert namedsets.read_idx(tmp_path / name)[0].tolist() == array.tolist()


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no gzip at all",
        gzip.compress(b"\0\0\x08\x03"),
        gzip.compress(b"\x89PNG" * 10),
        gzip.compress(idx(np.zeros((3, 28, 28), np.uint8)))[:-9],
        gzip.compress(idx(np.zeros((3, 28, 28), np.uint8))[:-1]),
        gzip.compress(idx(np.zeros((60000, 28, 28), np.uint8))),
    ],
    ids=range(7),  # packed bytes hold the time, and the processes of a test run compare names
)
def test_corrupt_mnist_files_are_named(content, flat, tmp_path):
    path = tmp_path / ("." if flat else "MNIST/raw") / "train-images-idx3-ubyte.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    refused(open_dataset("mnist", tmp_path, download=False).load, path, "corrupt")


def test_mnist_is_not_taken_for_fashion_mnist(tmp_path):
    for file in namedsets.IDX_FILES:
        (tmp_path / file).write_bytes(gzip.decompress((ROOT / "Data/MNIST/raw" / f"{file}.gz").read_bytes()))
    open_dataset("mnist", tmp_path, download=False).load()
    refused(open_dataset("fashion-mnist", tmp_path, download=False).load, tmp_path, "another set")


def make_fashion(folder, monkeypatch, count=60):
    """Four small files in the place of Fashion-MNIST's, and constants to match."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    sums = []
    for file, shape in zip(namedsets.IDX_FILES, [(count, 28, 28), (count,), (10, 28, 28), (10,)], strict=True):
        array = generator.integers(0, 256 if len(shape) == 3 else 10, shape).astype(np.uint8)
        (folder / f"{file}.gz").write_bytes(gzip.compress(idx(array)))
        sums.append((md5_of(folder / f"{file}.gz"),))
    monkeypatch.setitem(namedsets.IDX_ARCHIVES, "fashion-mnist", tuple(sums))


def test_fashion_mnist_from_a_mirror(tmp_path, monkeypatch):
    make_fashion(tmp_path / "mirror", monkeypatch)
    facts = catalogue.Named((1, 28, 28), 10, 60, 10, "none", "")
    monkeypatch.setitem(catalogue.NAMED, "fashion-mnist", facts)
    data = open_dataset("fashion-mnist", tmp_path / "data", mirror=(tmp_path / "mirror").as_uri())
    assert data.mean == ()
    data.load()
    pixels = data._train.images.double() / 255
    assert data.mean == (pytest.approx(float(pixels.mean()), abs=1e-12),)
    assert data.std == (pytest.approx(float(pixels.std(correction=0)), abs=1e-12),)
    assert len(list((tmp_path / "data/FashionMNIST/raw").glob("*.gz"))) == 4
    path = tmp_path / "data/FashionMNIST/raw/t10k-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros(10, np.uint8))))
    refused(open_dataset("fashion-mnist", tmp_path / "data").load, path, "checksum")


def test_sizes_that_disagree_are_refused(tmp_path, monkeypatch):
    make_fashion(tmp_path / "FashionMNIST/raw", monkeypatch)
    refused(open_dataset("fashion-mnist", tmp_path).load, "60 training and 10 test images", "60000")


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


# synthetic:


def test_synthetic_depends_on_its_name_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (open_dataset(f"synthetic:3x8x10:4:{count}") for count in (103, 103, 104))
    for data in (first, again, other):
        data.load()
    assert torch.equal(torch.get_rng_state(), state)
    assert (first.input_shape, first.num_classes, first.train_size, first.test_size) == ((3, 8, 10), 4, 103, 20)
    assert torch.equal(first._train.images, again._train.images) and torch.equal(first._test.images, again._test.images)
    assert not torch.equal(first._train.images, other._train.images[:103])
    assert torch.bincount(first.train_labels).tolist() == [26, 26, 26, 25]
    assert torch.bincount(first.test_labels).tolist() == [5, 5, 5, 5]
    assert first._train.images.dtype == torch.uint8
    assert open_dataset("synthetic:1x8x8:2:2").test_size == 1


def test_synthetic_can_be_learnt():
    data = open_dataset("synthetic:1x8x8:4:400")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for epoch in range(10):
        for images, labels in data.train_batches(32, 1, "post-train", epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    [(images, labels)] = data.test_batches(1000)
    assert (model(images).argmax(1) == labels).float().mean() > 0.9
