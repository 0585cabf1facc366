"""Types that the readers of all datasets share.

A reader is a function f(name, place, image_size) -> `Contents`, which an entry of `Utils.data.catalogue` names. It checks the
files that exist, and fetches the missing ones if `place` allows that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from Utils.base.network import PATIENCE
from Utils.data.catalogue import Facts
from Utils.data.download import obtain


class Contents(NamedTuple):
    """A training and a test set: images as uint8 [N, C, H, W] or as an `ImageSource`, labels int64 [N], on the CPU.

    `facts` describe a set that the catalogue does not know.
    """

    train: Any
    train_labels: Tensor
    test: Any
    test_labels: Tensor
    facts: Facts | None = None


@dataclass(frozen=True)
class Place:
    """The place of a set's files, and the rules for fetching them.

    Attributes:
        data_dir: the folder to look in.
        download: whether missing files may be fetched.
        mirror: the URL of a folder to fetch from instead of the set's own.
        patience: the seconds of silence after which the network counts as dead.
    """

    data_dir: Path
    download: bool = True
    mirror: str | None = None
    patience: float = PATIENCE

    def obtain(
        self, title: str, folder: Path, files: Mapping[str, Sequence[str]], bases: Sequence[str], looked: Sequence[Path]
    ) -> None:
        """Call `Utils.data.download.obtain` with the settings of this place."""
        options = {"download": self.download, "mirror": self.mirror, "patience": self.patience}
        obtain(title, folder, files, bases, looked=looked, **options)
