"""The reader of imagenet, from a folder with train/<class>/ and val/<class>/."""

from __future__ import annotations

from Utils.data.download import missing
from Utils.data.image_files import LARGE, files, list_tree, number_classes, read_pair
from Utils.data.reading import Contents, Place


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Read imagenet from imagenet_raw/{train,val} or imagenet/{train,val}; it is never downloaded.

    Raises:
        Refused: neither folder exists, or it has no classes, or a class has no images.
    """
    looked = [place.data_dir / folder for folder in ("imagenet_raw", "imagenet")]
    root = next((root for root in looked if (root / "train").is_dir() and (root / "val").is_dir()), None)
    if root is None:
        raise missing(name, ["train/<class>/ and val/<class>/"], looked, "is never downloaded")
    train, test = list_tree(root / "train"), list_tree(root / "val")
    _, train_labels, test_labels = number_classes(train, test, name)
    # EXIF orientations are ignored, as they are in the published accuracies.
    sources = files(train, upright=False), files(test, upright=False)
    _, images, tests = read_pair(*sources, image_size or LARGE, name)
    return Contents(images, train_labels, tests, test_labels)
