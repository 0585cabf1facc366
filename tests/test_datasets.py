"""Datasets: names, real MNIST, archives and trees made here, torchvision's classes, and what is refused."""

import gzip
import io
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from Utils import catalogue, datasets, imagefolder, imagesets, namedsets, torchsets
from Utils.batches import statistics
from Utils.datasets import NAMES, check_name, describe, open_dataset
from Utils.download import md5_of
from Utils.errors import Refused

ROOT = Path(datasets.__file__).parent.parent


def refused(call, *words):
    with pytest.raises(Refused) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert str(word) in str(caught.value)


def save(path, size=(8, 8), value=0, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    pixels[0, 0] = (255, 0, 0)
    Image.fromarray(pixels).convert(mode).save(path)


def make_tree(root, test="test", classes=("ant", "bee"), size=(8, 8), suffix="png"):
    for part, count in (("train", 3), (test, 2)):
        for number, name in enumerate(classes):
            for index in range(count):
                save(root / part / name / f"{index}.{suffix}", size, 50 * number + index)
    return root


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
    code = "import sys, Utils.datasets as d; d.describe(); d.check_name('cifar10'); sys.exit('torch' in sys.modules)"
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


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


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


# folder:


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_of_small_images(test, tmp_path):
    from torchvision.datasets import ImageFolder

    data = open_dataset(f"folder:{make_tree(tmp_path, test)}")
    assert data.input_shape == (3, 8, 8) and (data.num_classes, data.train_size, data.test_size) == (2, 6, 4)
    assert data.augment == "crop-flip"
    data.load()
    expected = ImageFolder(str(tmp_path / "train"))
    assert data.train_labels.tolist() == expected.targets
    images = torch.stack([torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) for image, _ in expected])
    assert torch.equal(data._train.images, images)
    assert data.mean[0] == pytest.approx(float((data._train.images[:, 0].double() / 255).mean()), abs=1e-12)
    assert data.std[1] == pytest.approx(float((data._train.images[:, 1].double() / 255).std(correction=0)), abs=1e-12)
    images, labels = next(data.train_batches(4, 1, "post-train", 0))
    assert images.shape == (4, 3, 8, 8) and len(labels) == 4


def test_grey_and_transparent_images_become_rgb(tmp_path):
    make_tree(tmp_path)
    save(tmp_path / "train/ant/grey.png", value=9, mode="L")
    save(tmp_path / "train/ant/clear.png", value=9, mode="RGBA")
    data = open_dataset(f"folder:{tmp_path}")
    data.load()
    assert data._train.images.shape == (8, 3, 8, 8)


def test_resized_to_small(tmp_path):
    from torchvision.transforms.v2 import functional

    make_tree(tmp_path, size=(20, 12))
    save(tmp_path / "train/ant/other.png", (16, 16))
    data = open_dataset(f"folder:{tmp_path}", image_size=8)
    data.load()
    first = torch.from_numpy(np.asarray(Image.open(tmp_path / "train/ant/0.png")).copy()).permute(2, 0, 1)
    assert data.input_shape == (3, 8, 8)
    assert torch.equal(data._train.images[0], functional.resize(first, [8, 8], antialias=True))


def test_sizes_that_differ_or_are_large_mean_224(tmp_path):
    make_tree(tmp_path)
    save(tmp_path / "test/bee/other.png", (8, 9))
    data = open_dataset(f"folder:{tmp_path}", workers=0)
    assert data.input_shape == (3, 224, 224) and data.augment == "imagenet"
    large = open_dataset(f"folder:{make_tree(tmp_path / 'large', size=(80, 65))}", image_size=72, workers=0)
    assert large.input_shape == (3, 72, 72)
    large.load()
    assert all(0 < value < 1 for value in (*large.mean, *large.std))
    assert [len(labels) for _, labels in large.test_batches(3)] == [4]  # one left over joins the batch before
    [(images, labels)] = large.subset_batches(torch.tensor([5, 0]), 8)
    assert labels.tolist() == [1, 0] and images.shape == (2, 3, 72, 72)


def test_oblong_images_keep_their_shape(tmp_path):
    assert open_dataset(f"folder:{make_tree(tmp_path, size=(9, 5))}").input_shape == (3, 5, 9)


def test_test_classes_are_matched_by_name(tmp_path):
    make_tree(tmp_path, classes=("ant", "bee", "cat"))
    for path in (tmp_path / "test" / "ant").iterdir():
        path.unlink()
    (tmp_path / "test" / "ant").rmdir()
    data = open_dataset(f"folder:{tmp_path}")
    data.load()
    assert data.test_labels.tolist() == [1, 1, 2, 2] and data.num_classes == 3
    save(tmp_path / "test" / "dog" / "0.png")
    refused(lambda: open_dataset(f"folder:{tmp_path}"), "'dog'", "ant, bee, cat")


def test_folders_that_will_not_do(tmp_path):
    def opening():
        return open_dataset(f"folder:{tmp_path}")

    refused(lambda: open_dataset(f"folder:{tmp_path / 'no'}"), tmp_path / "no", "not a folder")
    refused(opening, tmp_path, "train/ and test/ (or val/)")
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    refused(opening, tmp_path / "train", "class folders")
    make_tree(tmp_path)
    (tmp_path / "train" / "cat").mkdir()
    refused(opening, tmp_path / "train" / "cat", "no images")
    (tmp_path / "train" / "cat" / "notes.txt").touch()
    refused(opening, tmp_path / "train" / "cat", "no images")
    for content in (b"", b"no image"):
        (tmp_path / "train" / "cat" / "0.png").write_bytes(content)
        refused(opening, tmp_path / "train" / "cat" / "0.png", "cannot read the image", "it is no image")
    truncated = (tmp_path / "train" / "ant" / "0.png").read_bytes()[:44]
    (tmp_path / "train" / "cat" / "0.png").write_bytes(truncated)
    refused(opening, tmp_path / "train" / "cat" / "0.png")


def test_many_slices_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(imagefolder, "_SLICE", 1)
    for index in range(40):
        save(tmp_path / f"{index:02d}.png", (4, 4), index)
    source = imagefolder.Files([str(tmp_path / f"{index:02d}.png") for index in range(40)])
    for size in (None, (4, 4), (2, 2)):
        assert imagefolder.read_small(source, size, "x")[:, 0, -1, -1].tolist() == list(range(40))


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


# torchvision


def test_kmnist_is_a_set_of_one_channel(tmp_path, monkeypatch):
    folder = tmp_path / "KMNIST/raw"
    folder.mkdir(parents=True)
    for file, shape in zip(namedsets.IDX_FILES, [(20, 28, 28), (20,), (10, 28, 28), (10,)], strict=True):
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
    assert open_dataset("SVHN", tmp_path).augment == "none"


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
    import socket
    import threading
    import time

    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: waiting.wait(20))
    start = time.monotonic()
    place = namedsets.Place(tmp_path, patience=0.3)
    refused(lambda: torchsets.open_pair("KMNIST", place), "KMNIST", tmp_path, "could not be downloaded", "--data-dir")
    waiting.set()
    assert time.monotonic() - start < 1.5
