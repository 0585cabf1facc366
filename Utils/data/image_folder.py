"""The reader of a user's own images: `folder:PATH` with PATH/train/<class>/ and PATH/test/ or PATH/val/<class>/."""

from __future__ import annotations

from pathlib import Path

from Utils.base.errors import Refused
from Utils.data.catalogue import folder_of
from Utils.data.image_files import Listing, files, list_tree, number_classes, read_described
from Utils.data.reading import Contents, Place


def read(name: str, place: Place, image_size: int | None) -> Contents:
    """Read the images of the folder that `name` gives after its prefix, in RGB.

    Raises:
        Refused: the folder lacks a part, a class of the test images has no training images, or an image cannot be read.
    """
    train, test = find_trees(folder_of(name))
    classes, train_labels, test_labels = number_classes(train, test, name)
    contents = Contents(files(train), train_labels, files(test), test_labels)
    return read_described(contents, 3, len(classes), image_size, name)


def find_trees(root: Path) -> tuple[Listing, Listing]:
    """List the images of `root`/train and of `root`/test, or of `root`/val if there is no test.

    Raises:
        Refused: a part is missing or cannot be listed.
    """
    if not root.is_dir():
        raise Refused(f"{root} is not a folder; a folder with train/ and test/ (or val/) is expected")
    test = next((root / name for name in ("test", "val") if (root / name).is_dir()), None)
    if test is None or not (root / "train").is_dir():
        raise Refused(f"{root} must have the folders train/ and test/ (or val/), each with a folder per class")
    return list_tree(root / "train"), list_tree(test)
