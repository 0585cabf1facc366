"""Whole commands of this project on the card: cells one by one and at once, and the reading of large images."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import main as program
from benchmarks.gpu.card import Card
from benchmarks.gpu.record import Row
from benchmarks.gpu.sizes import Case, Sizes
from benchmarks.gpu.tasks import Part, Task
from Utils.data.open_set import open_dataset


def grid_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task for each network and number of cells at once."""
    for case in sizes.cases:
        for count in sizes.stacks:
            seconds = 15 + 1.5 * sizes.epochs * count
            yield Task(case.labels() | {"cells at once": count}, seconds, partial(grid, card, case, count, sizes))


def grid(card: Card, case: Case, count: int, sizes: Sizes) -> Row:
    """Run a grid of `count` dense cells on random images of the case's size; its numbers are those that the cells saved."""
    shape = "x".join(map(str, case.shape))
    words = ["--dataset", f"synthetic:{shape}:10:{sizes.of_epoch or case.images}", "--model", case.network]
    words += ["--optimizer", case.optimizer, "--train-batch-size", str(case.batch), "--pruner-list", "dense"]
    words += ["--seed-list", *map(str, range(1, count + 1)), "--post-epochs", str(sizes.epochs), "--stack", str(count)]
    words += [] if card.cuda else ["--no-cuda"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        if program.main([*words, "--result-dir", folder, "--expid", "g"]):
            raise RuntimeError(said.getvalue()[-500:])
        cells = sorted(Path(folder, "singleshot/g").glob("*/summary.json"))
        summaries = [json.loads(cell.read_text()) for cell in cells]
        training = [pd.read_csv(cell.with_name("post-train.csv"))["seconds"].iloc[-1] for cell in cells]
    evaluation = [summary["seconds"]["eval"] / (sizes.epochs + 2) for summary in summaries]  # before training: two
    return {
        "seconds an epoch and cell": (max(training) + max(evaluation)) / count,
        "of it training": max(training) / count,
        "first epoch included": max(s["seconds"]["post_train"] for s in summaries) / sizes.epochs / count,
        "MiB": max(s["peak_memory_bytes"]["train"] for s in summaries) / 2**20,
    }


def image_tasks(card: Card, sizes: Sizes) -> Iterator[Task]:
    """Yield a task for each number of processes that decode."""
    for workers in sizes.workers:
        labels: Row = {"images": "JPEG 256x256 as 224x224", "batch": 64, "processes": workers}
        yield Task(labels, 20, partial(large_images, card, workers, sizes))


def large_images(card: Card, workers: int, sizes: Sizes) -> Row:
    """Time the second pass over a folder of JPEGs, augmented and normalised on the card."""
    with tempfile.TemporaryDirectory() as folder:
        draws = np.random.default_rng(1)
        for part, count in (("train", sizes.jpegs), ("test", 2)):
            for number in range(count):
                path = Path(folder, part, f"class{number % 2}", f"{number}.jpg")
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draws.integers(0, 256, (256, 256, 3), dtype=np.uint8)).save(path)
        data = open_dataset(f"folder:{folder}", image_size=224, workers=workers, device=card.device)
        data.load()
        for epoch in (1, 2):
            began, seen = time.perf_counter(), 0
            for images, _ in data.train_batches(64, 1, "post_train", epoch):
                seen += len(images)
            card.wait()
            taken = time.perf_counter() - began
    return {"images a second": seen / taken}


GRIDS = Part(
    "Grids of dense cells of several seeds (`--pruner-list dense --stack N`), in this process. An epoch is the last one with an "
    "evaluation of a test set of a fifth of its images; the first one also captures the graphs.",
    grid_tasks,
)
IMAGES = Part("Images above 64 pixels: processes decode, the card crops, mirrors and normalises.", image_tasks)
