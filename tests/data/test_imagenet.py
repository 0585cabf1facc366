"""imagenet from folders made here."""

import pytest
import torch
from trees import make_tree, refused, set_facts

from Utils.data.catalogue import Facts
from Utils.data.open_set import open_dataset


@pytest.mark.parametrize("folder", ["imagenet_raw", "imagenet"])
def test_imagenet_folders(folder, tmp_path, monkeypatch):
    make_tree(tmp_path / folder, "val", size=(90, 70), suffix="JPEG")
    refused(open_dataset("imagenet", tmp_path).load, "6 training and 4 test images", "1281167")
    set_facts(monkeypatch, "imagenet", Facts((3, 224, 224), 2, 6, 4, "imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), one_size=False))
    for size in (None, 16):
        data = open_dataset("imagenet", tmp_path, image_size=size, workers=0)
        images, labels = next(data.train_batches(4, 1, "post-train", 0))
        assert images.shape == (4, 3, size or 224, size or 224) and labels.dtype == torch.int64
        assert data.mean == (0.485, 0.456, 0.406)


def test_imagenet_is_never_downloaded(tmp_path):
    looked = tmp_path / "imagenet_raw", tmp_path / "imagenet"
    refused(open_dataset("imagenet", tmp_path).load, *looked, "never downloaded", "--data-dir")
