"""`--experiment compact` for tests: runs to compact, the command, and what it left."""

from __future__ import annotations

import json
from pathlib import Path

from Models import registry
from Models.weights import load_weights
from Utils.data.open_set import open_dataset

DATA = "synthetic:1x12x12:4:60"
BASE = ["--dataset", DATA, "--post-epochs", "1", "--prune-epochs", "3", "--train-batch-size", "10", "--lr", "0.01", "--expid", "x"]
FOLDER = Path("Results/data/singleshot/x")
NEW = {"compact.pt", "compact.pt2", "compact.onnx", "compact.csv", "compact.json"}


def compact(command, *folders, words=()):
    return command("--experiment", "compact", "--run", *folders, *words)


def report(folder):
    return json.loads((Path(folder) / "compact.json").read_text())


def masked(folder, data=DATA, model="conv", kind="default"):
    """The run's network and its test images, found without the code under test."""
    dataset = open_dataset(data)
    network = registry.build(model, kind, dataset.input_shape, dataset.num_classes)
    load_weights(network, folder / "model.pt")
    return network.eval(), next(dataset.test_batches(1000))[0]
