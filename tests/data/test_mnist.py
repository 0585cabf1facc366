"""MNIST as it comes with the project, and small files in the place of Fashion-MNIST's."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import PROJECT
from trees import idx, refused, set_facts

from Utils.data import mnist
from Utils.data.batches import statistics
from Utils.data.catalogue import Facts
from Utils.data.download import md5_of
from Utils.data.open_set import open_dataset


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
        assert mnist.read_idx(tmp_path / name)[0].tolist() == array.tolist()


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
    for file in mnist.FILES:
        (tmp_path / file).write_bytes(gzip.decompress((PROJECT / "Data/MNIST/raw" / f"{file}.gz").read_bytes()))
    open_dataset("mnist", tmp_path, download=False).load()
    refused(open_dataset("fashion-mnist", tmp_path, download=False).load, tmp_path, "another set")


def make_fashion(folder, monkeypatch, count=60):
    """Four small files in the place of Fashion-MNIST's, and constants to match."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    sums = []
    for file, shape in zip(mnist.FILES, [(count, 28, 28), (count,), (10, 28, 28), (10,)], strict=True):
        array = generator.integers(0, 256 if len(shape) == 3 else 10, shape).astype(np.uint8)
        (folder / f"{file}.gz").write_bytes(gzip.compress(idx(array)))
        sums.append((md5_of(folder / f"{file}.gz"),))
    monkeypatch.setitem(mnist.SOURCES, "fashion-mnist", replace(mnist.SOURCES["fashion-mnist"], archives=tuple(sums)))


def test_fashion_mnist_from_a_mirror(tmp_path, monkeypatch):
    make_fashion(tmp_path / "mirror", monkeypatch)
    set_facts(monkeypatch, "fashion-mnist", Facts((1, 28, 28), 10, 60, 10, "none"))
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
