"""tiny-imagenet from zips and folders made here."""

import io
import zipfile

import pytest
import torch
from PIL import Image
from trees import refused, save, set_facts

from Utils.data import tiny_imagenet
from Utils.data.catalogue import Facts
from Utils.data.download import md5_of
from Utils.data.open_set import open_dataset


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A small tiny-imagenet-200.zip in the original layout, one image of it grey; returns its path."""
    archive = tmp_path / "zip" / tiny_imagenet.ZIP
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
    monkeypatch.setattr(tiny_imagenet, "MD5", md5_of(archive))
    monkeypatch.setattr(tiny_imagenet, "SIZES", (6, 4))
    set_facts(monkeypatch, "tiny-imagenet", Facts((3, 64, 64), 2, 6, 4, "crop-flip", (0.5,) * 3, (0.2,) * 3))
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
    refused(load, "is incomplete (1 of 100000 and 0 of 10000 images)", "--no-download was given", tiny_imagenet.ZIP)
    assert load_tiny(folder, mirror=tiny.parent.as_uri()).train_labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_corrupt_zip_is_named(tiny):
    tiny.write_bytes(tiny.read_bytes()[:-30])
    refused(lambda: load_tiny(tiny.parent), tiny, "md5")
