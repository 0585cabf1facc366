"""Odd sizes, single images and classes, many workers, absent devices, and numbers that are not finite."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import TINY
from trees import make_tree, save

from Utils.compute.precision import Precision

SHAPES = ["1x1x1", "3x1x1", "1x7x5", "3x33x31", "2x8x8", "1x1x64", "4x2x2"]
ANY_SIZE, HALVING = ["fc", "conv", "resnet20"], ["vgg11-bn", "alexnet"]  # of images that a network takes; five times to a pixel
ZERO = "main.py: error: --model {} cannot be scored with --pruner snip: the scores of all layers are zero."  # the loss of one class is 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model", ANY_SIZE + HALVING)
def test_every_size_of_image_works_or_is_refused(command, model, shape):
    done = command("--dataset", f"synthetic:{shape}:3:9", "--model", model, "--experiment", "prune", "--compression", "0.1", "--no-save")
    if model in HALVING and shape != "3x33x31":
        assert done.status == 2 and done.err.count("\n") == 1, done
        assert done.err.startswith(f"main.py: error: --model {model} cannot take images of {shape}: Given input size"), done.err
    else:
        assert done.status == 0 and done.err == "", done


@pytest.mark.parametrize(("words", "error"), [
    ("--dataset synthetic:1x1x1:2:2", None),
    ("--dataset synthetic:3x7x5:3:5 --model conv", None),
    ("--dataset synthetic:3x7x5:3:5 --model resnet20 --train-batch-size 4", None),
    ("--dataset folder:one", ZERO.format("fc")),
    ("--dataset folder:one --model resnet20", ZERO.format("resnet20")),
    ("--dataset folder:one --val-fraction 0.5", "main.py: error: --val-fraction 0.5 holds out 0 of the 1 training images\n"),
    ("--dataset folder:grey", None),
    ("--dataset folder:grey --model-class torchvision --model squeezenet1_1 --image-size 65", None),
], ids=lambda given: given if given and given.startswith("--") else "")  # fmt: skip
def test_few_images_and_single_channels_train_or_are_refused(command, words, error):
    """A batch that is left with one image, one image at all, one class, grey images on a network for colours."""
    for part in ("train", "test"):
        save(Path("one", part, "ant", "0.png"))
    make_tree(Path("grey"), suffix="png")
    for file in Path("grey").rglob("*.png"):
        save(file, mode="L")
    done = command(*words.split(), "--post-epochs", "1", "--prune-dataset-ratio", "1", "--pruner", "snip", "--compression", "0.2", "--no-save")
    if error:
        assert done.status == 2 and done.err.startswith(error) and done.err.count("\n") == 1, done
    else:
        assert done.status == 0 and done.err == "" and "Parameter Sparsity:" in done.out, done


def test_a_device_that_is_not_there_is_refused_where_there_is_cuda(refused, monkeypatch):
    backends = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    try:
        refused([*TINY, "--gpu", "7"], "--gpu 7", "2 CUDA devices, numbered from 0")
        refused([*TINY, "--gpu", "7", "--seed-list", "1", "2"], "--gpu 7", "2 CUDA devices")
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.deterministic = backends


@pytest.mark.parametrize(("words", "phase"), [
    (["--pre-epochs", "3", "--post-epochs", "1"], "pre_train"), (["--post-epochs", "3"], "post_train"),
    (["--experiment", "multishot", "--level-list", "2", "--pre-epochs", "3"], "pre_train"),
])  # fmt: skip
def test_a_loss_that_is_not_finite_ends_the_run_with_its_rows(command, words, phase):
    done = command(*TINY, *words, "--optimizer", "sgd", "--lr", "1e38", "--train-batch-size", "8", "--expid", "x")
    assert done.status == 1 and done.err.count("\n") == 1
    assert (f"diverged at epoch 1 of {phase}" if "multishot" not in words else "2 of 2 cells failed") in done.err
    folder = next(file.parent for file in Path("Results/data").rglob("summary.json"))
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["status"] == "failed" and summary["reason"].startswith("diverged at epoch 1 of ") and phase in summary["reason"]
    rows = pd.read_csv(folder / f"{phase.replace('_', '-')}.csv")
    assert rows["epoch"].tolist()[-2:] == [0, 1] and not math.isfinite(rows["test_loss"].iloc[-1] + rows["train_loss"].iloc[-1])


@pytest.mark.parametrize("pruner", ["mag", "snip", "grasp", "synflow", "lamp", "erk", "uniform"])
def test_scores_that_are_not_finite_name_the_layer(refused, pruner):
    Path("mine.py").write_text(
        "from torch import nn\ndef net(shape, classes):\n    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Linear(5, classes))\n"
        "    nn.init.constant_(net[2].weight, float('nan'))\n    return net\n"
    )
    refused([*TINY, "--model", "mine.py:net", "--pruner", pruner], "mine.py:net", f"--pruner {pruner}", ".weight", "not finite")


def test_gradients_that_overflow_in_float16_are_skipped_by_the_scaler():
    precision = Precision(torch.device("cpu"), torch.float16)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scale = precision.scaler.get_scale()
    precision.step((weight * torch.tensor([1.0, float("inf"), 1.0])).sum(), optimizer)
    assert torch.equal(weight.detach(), torch.ones(3)) and precision.scaler.get_scale() == scale / 2  # left out, and scaled less
    state = precision.state()
    optimizer.zero_grad()
    precision.step(weight.sum(), optimizer)
    assert torch.allclose(weight.detach(), torch.full((3,), 0.9))
    other = Precision(torch.device("cpu"), torch.float16)
    other.restore(state)
    assert Precision(torch.device("cpu")).state() == {}
    assert other.scaler.get_scale() == scale / 2
