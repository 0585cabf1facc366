"""CIFAR, tiny-imagenet and imagenet from archives and folders made here."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from trees import make_tree, refused, save

from Utils.data import catalogue, datasets, imagesets, namedsets
from Utils.data.datasets import open_dataset
from Utils.data.download import md5_of

ROOT = Path(datasets.__file__).parents[2]


# CIFAR


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
    monkeypatch.setitem(namedsets.CIFAR, "cifar10", ("CIFAR10", archive.name, md5_of(archive)))
    facts = catalogue.Named((3, 32, 32), 10, 50, 10, "crop-flip", "", (0.5,) * 3, (0.2,) * 3)
    monkeypatch.setitem(catalogue.NAMED, "cifar10", facts)
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


# tiny-imagenet and imagenet


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A small tiny-imagenet-200.zip in the original layout, one image of it grey; returns its path."""
    archive = tmp_path / "zip" / imagesets.TINY_ZIP
    archive.parent.mkdir()
    lines = []
    with zipfile.ZipFile(archive, "w") as opened:

        def write(path, value, mode="RGB"):
            content = io.BytesIO()
            Image.new(mode, (64, 64), value if mode == "L" else (value, 0, 0)).save(content, "JPEG")
            opened.writestr(f"tiny-imagenet-200/{path}", content.getvalue())

        for number, name in enumerate(["n02", "n01"]):
            for index in range(3):
                write(f"train/{name}/images/{name}_{index}.JPEG", 20 * number + index, "L" if index == 2 else "RGB")
            opened.writestr(f"tiny-imagenet-200/train/{name}/{name}_boxes.txt", "x")
        for index, name in enumerate(["n02", "n01", "n01", "n02"]):
            write(f"val/images/val_{index}.JPEG", 100 + index)
            lines.append(f"val_{index}.JPEG\t{name}\t0\t0\t1\t1\n")
        opened.writestr("tiny-imagenet-200/val/val_annotations.txt", "".join(lines))
        opened.writestr("tiny-imagenet-200/test/images/test_0.JPEG", b"")
    monkeypatch.setattr(imagesets, "TINY_MD5", md5_of(archive))
    monkeypatch.setattr(imagesets, "TINY_SIZES", (6, 4))
    facts = catalogue.Named((3, 64, 64), 2, 6, 4, "crop-flip", "", (0.5,) * 3, (0.2,) * 3)
    monkeypatch.setitem(catalogue.NAMED, "tiny-imagenet", facts)
    return archive


def load_tiny(folder, **options):
    data = open_dataset("tiny-imagenet", folder, **options)
    data.load()
    return data


def test_tiny_imagenet_in_all_layouts(tiny, tmp_path):
    data = load_tiny(tiny.parent, download=False)
    assert data.train_labels.tolist() == [0, 0, 0, 1, 1, 1] and data.test_labels.tolist() == [0, 0, 1, 1]
    images = data._test.images[:, 0, 0, 0].tolist()
    assert images == pytest.approx([101, 102, 100, 103], abs=2)
    grey = data._train.images[2]
    assert torch.equal(grey[0], grey[1]) and torch.equal(grey[0], grey[2])
    assert sorted(path.name for path in tiny.parent.iterdir()) == [tiny.name]  # not unpacked
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tiny) as opened:
        opened.extractall(unpacked)
    val = unpacked / "tiny-imagenet-200" / "val"
    moves = {0: "n02", 3: "n02", 1: "n01", 2: "n01"}
    for step in range(5):  # as unpacked, then a rearrangement interrupted anywhere
        again = load_tiny(unpacked, download=False)
        assert torch.equal(again._test.images, data._test.images) and torch.equal(again._train.images, data._train.images)
        assert again.test_labels.tolist() == data.test_labels.tolist()
        if step < 4:
            index, name = list(moves.items())[step]
            (val / name).mkdir(exist_ok=True)
            (val / "images" / f"val_{index}.JPEG").rename(val / name / f"val_{index}.JPEG")
    (val / "val_annotations.txt").unlink()
    assert torch.equal(load_tiny(unpacked, download=False)._test.images, data._test.images)


def test_an_incomplete_tiny_imagenet_is_repaired_from_the_zip(tiny, tmp_path):
    folder = tmp_path / "data"
    save(folder / "tiny-imagenet-200/train/n01/images/n01_0.JPEG", (64, 64))
    load = open_dataset("tiny-imagenet", folder, download=False).load
    refused(load, "is incomplete (1 of 100000 and 0 of 10000 images)", "--no-download was given", imagesets.TINY_ZIP)
    assert load_tiny(folder, mirror=tiny.parent.as_uri()).train_labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_corrupt_zip_is_named(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-30])
    refused(lambda: load_tiny(tiny.parent), tiny, "md5")


@pytest.mark.parametrize("folder", ["imagenet_raw", "imagenet"])
def test_imagenet_folders(folder, tmp_path, monkeypatch):
    make_tree(tmp_path / folder, "val", size=(90, 70), suffix="JPEG")
    refused(open_dataset("imagenet", tmp_path).load, "6 training and 4 test images", "1281167")
    facts = catalogue.Named((3, 224, 224), 2, 6, 4, "imagenet", "", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    monkeypatch.setitem(catalogue.NAMED, "imagenet", facts)
    for size in (None, 16):
        data = open_dataset("imagenet", tmp_path, image_size=size, workers=0)
        images, labels = next(data.train_batches(4, 1, "post-train", 0))
        assert images.shape == (4, 3, size or 224, size or 224) and labels.dtype == torch.int64
        assert data.mean == (0.485, 0.456, 0.406)


def test_imagenet_is_never_downloaded(tmp_path):
    looked = tmp_path / "imagenet_raw", tmp_path / "imagenet"
    refused(open_dataset("imagenet", tmp_path).load, *looked, "never downloaded", "--data-dir")
