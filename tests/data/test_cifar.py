"""CIFAR-10 from archives and folders made here."""

import pickle
import tarfile

import numpy as np
import torch
from trees import refused, set_facts

from Utils.data import cifar
from Utils.data.catalogue import Facts
from Utils.data.download import md5_of
from Utils.data.open_set import open_dataset


def make_cifar(folder, monkeypatch):
    """An archive like CIFAR-10's with 50 training images; returns its path."""
    from torchvision.datasets import CIFAR10

    generator, folder_name = np.random.default_rng(0), CIFAR10.base_folder
    lists = {"train_list": [f"data_batch_{i}" for i in range(1, 6)], "test_list": ["test_batch"]}
    unpacked = folder / folder_name
    unpacked.mkdir(parents=True)

    def write(file, content):
        (unpacked / file).write_bytes(pickle.dumps(content))
        return [file, md5_of(unpacked / file)]

    for attribute, files in lists.items():
        entries = [{"data": generator.integers(0, 256, (10, 3072)).astype(np.uint8), "labels": list(range(10))} for _ in files]
        monkeypatch.setattr(CIFAR10, attribute, [write(*pair) for pair in zip(files, entries, strict=True)])
    meta = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": meta[1]})
    archive = folder / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(unpacked, folder_name)
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", ("CIFAR10", archive.name, md5_of(archive)))
    set_facts(monkeypatch, "cifar10", Facts((3, 32, 32), 10, 50, 10, "crop-flip", (0.5,) * 3, (0.2,) * 3))
    return archive


def test_cifar_from_mirror_archive_or_folder(tmp_path, monkeypatch):
    from torchvision.datasets import CIFAR10

    archive = make_cifar(tmp_path / "mirror", monkeypatch)
    expected = torch.from_numpy(CIFAR10(str(archive.parent), train=True).data).permute(0, 3, 1, 2)
    target = tmp_path / "data"
    for damage in (lambda: None, (target / "cifar-10-batches-py" / "data_batch_3").unlink):
        damage()  # an interrupted unpacking is repaired from the archive
        data = open_dataset("cifar10", target, mirror=archive.parent.as_uri())
        data.load()
        assert torch.equal(data._train.images, expected) and data._train.images.is_contiguous()
        assert data.train_labels.tolist() == list(range(10)) * 5
    (target / archive.name).unlink()
    open_dataset("cifar10", target, download=False).load()  # the folder is enough


def test_a_corrupt_cifar_archive_is_named(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"half an archive")
    refused(open_dataset("cifar10", tmp_path).load, tmp_path / "cifar-10-python.tar.gz", "md5")
