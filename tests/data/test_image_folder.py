"""Folders of images: `folder:PATH`."""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from trees import make_tree, refused, save

from Utils.data.image_files import list_tree
from Utils.data.open_set import open_dataset


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


def test_links_and_pipes_in_class_folders(tmp_path):
    """No image counts twice, however links go round; what is no file is named."""
    make_tree(tmp_path)
    ant = tmp_path / "train" / "ant"
    own = len(list_tree(tmp_path / "train"))
    (ant / "again").symlink_to(ant)
    (ant / "up").symlink_to(tmp_path / "train" / "bee")
    (ant / "up too").symlink_to(tmp_path / "train" / "bee")
    bees = len(list((tmp_path / "train" / "bee").iterdir()))
    assert len(list_tree(tmp_path / "train")) == own + bees
    os.mkfifo(ant / "pipe.png")
    refused(lambda: open_dataset(f"folder:{tmp_path}"), ant / "pipe.png", "no regular file")
    (ant / "pipe.png").unlink()
    (ant / "gone.png").symlink_to(tmp_path / "nowhere.png")
    refused(lambda: open_dataset(f"folder:{tmp_path}"), ant / "gone.png", "no regular file")
