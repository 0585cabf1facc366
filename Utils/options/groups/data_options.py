"""The options about images: the dataset, its place on the disk, its preparation."""

from __future__ import annotations

from dataclasses import dataclass

from Utils.data.catalogue import named_sets
from Utils.options.flags import COUNT, integer
from Utils.options.option import option
from Utils.options.parts import Affects

DATASETS = f"{', '.join(named_sets())}, a torchvision class name, folder:PATH, or synthetic:CxHxW:CLASSES[:N]"


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class DataOptions:
    """The options of the images."""

    dataset: str = option("dataset", DATASETS, "mnist", paces=True, step_time=True, common=True)
    data_dir: str = option("data", "where datasets lie", "Data")
    no_download: bool = option("data", "never use the network", False, None, affects=Affects.NAME | Affects.RIVALS)
    image_size: int | None = option(
        "image", "side of the images; default: their size if up to 64, else 224", None, integer(1, 4096), step_time=True
    )
    workers: int = option("data", "worker processes that read images above 64 pixels, up to 4 for each CPU core", 4, COUNT)
    augment: str | None = option(
        "augment", "how training images are varied; default: by dataset", None, choices=("none", "crop-flip", "imagenet")
    )
    data_mirror: str | None = option(
        "mirror", "base URL to fetch the dataset's files from", affects=Affects.NAME | Affects.RIVALS
    )
