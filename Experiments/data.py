"""Data: fetch and check a dataset ahead of a job, so that the job itself needs no network."""

from __future__ import annotations

from Utils.data.open_set import open_dataset
from Utils.options.types import Options

EXPERIMENT = {
    "summary": "fetch and check a dataset ahead of a job",
    "reads": ("dataset", "data", "mirror"),
    "kind": "other",
}


def run(options: Options) -> None:
    """Read the dataset once, fetching it if it is missing, and print its facts."""
    data = open_dataset(
        options.dataset,
        options.data_dir,
        download=not options.no_download,
        mirror=options.data_mirror,
        workers=options.workers,
    )
    data.load()
    shape = "x".join(str(n) for n in data.input_shape)
    print(f"{data.name}: {data.train_size} training and {data.test_size} test images of {shape}, {data.num_classes} classes")
    print(f"  mean {', '.join(f'{m:.4f}' for m in data.mean)}; deviation {', '.join(f'{s:.4f}' for s in data.std)}")
    print(f"  training images are varied by: {data.augment}")
