"""Whole experiments through the command line, and the folders they leave."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import TINY
from trained import trained

COLUMNS = ["epoch", "train_loss", "test_loss", "top1_accuracy", "top5_accuracy", "lr", "seconds"]
SUMMARY = (
    "schema status experiment expid options seed params_kept params_total flops_kept flops_total macs_kept macs_total density_asked "
    "density collapsed collapsed_layers untrained top1_last top5_last top1_best best_epoch test_loss_last seconds peak_memory_bytes "
    "inference files peak_memory_of precision effective_density params_effective flops_effective macs_effective load kept_by_position "
    "unused_layers"
)


def folder_of(experiment="singleshot"):
    (folder,) = Path("Results/data", experiment).iterdir()
    return folder


def test_real_mnist_end_to_end(command):
    """The quick start with fewer epochs: prunes to exactly 11940, learns, prints the ancestor's lines, saves it all."""
    done = command("--pruner", "synflow", "--compression", "1", "--post-epochs", "2", "--pre-epochs", "1")
    assert done.status == 0 and all(line.endswith(" left") for line in done.err.splitlines())  # the progress of a slow machine
    assert "Parameter Sparsity: 12450/119910 (0.1038)" in done.out and "FLOP Sparsity: 12450/119910 (0.1038)" in done.out
    assert "Pruning with synflow for 100 epochs to density 0.1 " in done.out and "Train results:" in done.out and "Prune results:" in done.out and "WARNING" not in done.out
    folder = folder_of()
    assert sorted(os.listdir(folder)) == ["args.json", "compression.csv", "dense.pt", "initial.pt", "manifest.json", "model.pt", "optimizer.pt",
                                          "post-train.csv", "pre-train.csv", "scheduler.pt", "summary.json"]  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) == {*SUMMARY.split(), "checksum"}
    assert summary["status"] == "done" and summary["expid"] == folder.name and summary["top1_last"] > 90
    assert not summary["untrained"] and not summary["collapsed"] and summary["density"] == pytest.approx(0.1)
    for name, digest in summary["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert set(summary["files"]) == set(os.listdir(folder)) - {"summary.json", "manifest.json"}

    post = pd.read_csv(folder / "post-train.csv")
    assert list(post.columns) == COLUMNS and post["epoch"].tolist() == [0, 1, 2]
    assert math.isnan(post["train_loss"][0]) and post["top1_accuracy"].iloc[-1] == summary["top1_last"]
    pre = pd.read_csv(folder / "pre-train.csv")
    assert pre["top1_accuracy"].iloc[-1] > 90 and post["top1_accuracy"][0] < pre["top1_accuracy"].iloc[-1]

    state = torch.load(folder / "model.pt", weights_only=True)
    masks = [k for k in state if k.endswith("_mask")]
    assert sum(int(state[k].sum()) for k in masks) == 11940
    assert all(not state[k.removesuffix("_mask")][state[k] == 0].any() for k in masks)
    table = pd.read_csv(folder / "compression.csv")
    assert table["kept"].sum() == 12450 and table["kept_flops"].sum() == summary["flops_kept"]
    args = json.loads((folder / "args.json").read_text())
    assert args["prune_epochs"] == 100 and args["model_class"] == "default" and {"argv", "commit", "dirty", "versions", "device"} <= set(args)

    again = command("--pruner", "synflow", "--compression", "1", "--post-epochs", "2", "--pre-epochs", "1")
    assert again.status == 0 and "Already done" in again.out
    tables = [text[text.index("Train results:") :] for text in (done.out, again.out)]
    assert tables[0].split() == tables[1].split()

    tested = command("--experiment", "evaluate", "--run", folder)
    lines = [line.partition(": ")[2] for line in tested.out.splitlines()]
    assert tested.status == 0 and lines[0] == lines[1] and f"top-1 {summary['top1_last']:.2f} %" in lines[0]


def test_same_command_same_numbers(command):
    rows, states = [], []
    for name in ("a", "b"):
        assert command(*TINY, "--pruner", "rand", "--compression", "0.5", "--expid", name).status == 0
        folder = Path("Results/data/singleshot", name)
        rows.append(pd.read_csv(folder / "post-train.csv").drop(columns="seconds"))
        states.append(torch.load(folder / "model.pt", weights_only=True))
    assert rows[0].equals(rows[1]) and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_training_sees_the_same_order_with_every_pruner(command):
    """At density 1 all methods keep everything, so all must end with the same weights."""
    ends = []
    for pruner in ("rand", "snip", "synflow"):
        assert command(*TINY, "--pruner", pruner, "--expid", pruner).status == 0
        ends.append(torch.load(f"Results/data/singleshot/{pruner}/model.pt", weights_only=True))
    assert all(torch.equal(ends[0][k], end[k]) for end in ends[1:] for k in end)


def test_a_folder_with_another_run_is_refused_and_overwritten_on_request(command, refused):
    words = [*TINY, "--expid", "x", "--pruner", "mag"]
    assert command(*words, "--lr", "0.01").status == 0
    refused([*words, "--lr", "0.02"], "lr", "0.01", "0.02", "--overwrite")
    assert command(*words, "--lr", "0.02", "--overwrite").status == 0
    assert json.loads(Path("Results/data/singleshot/x/args.json").read_text())["lr"] == 0.02
    assert "Already done" in command(*words, "--lr", "0.02", "--gpu", "0", "--verbose").out


def test_an_unfinished_folder_is_taken_up_again(finished, command, refused):
    words = [*TINY, "--expid", "x"]
    finished(*words)
    folder = Path("Results/data/singleshot/x")
    (folder / "summary.json").write_text('{"half":')
    refused(words, "summary.json")
    (folder / "summary.json").unlink()
    done = command(*words)
    assert done.status == 0 and "Already done" not in done.out and (folder / "summary.json").exists()


def test_no_save_writes_nothing(command, tmp_path):
    assert command(*TINY, "--no-save").status == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("what", "words"), [
    ("assert x is None", "AssertionError:"), ("raise SystemExit(0)", "SystemExit: 0"), ("raise ValueError('odd')", "ValueError: odd"),
])  # fmt: skip
@pytest.mark.parametrize("experiment", ["singleshot", "prune"])
def test_whatever_a_network_does_the_folder_says_so(command, what, words, experiment):
    """An `assert` in a network was a traceback, and `sys.exit(0)` a success with nothing done."""
    Path("mine.py").write_text("import torch\nfrom torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
                               "        self.layer = nn.Linear(64, 3)\n    def forward(self, x):\n        if x.requires_grad or x.shape[0] > 1 or self.layer.weight.requires_grad and "
                               f"torch.is_grad_enabled():\n            {what}\n        return self.layer(x.flatten(1))\ndef net(shape, classes):\n    return Net()\n")  # fmt: skip
    done = command("--experiment", experiment, "--dataset", "synthetic:1x8x8:3:60", "--model", "mine.py:net", "--pruner", "snip", "--expid", "x")
    assert done.status == 1 and done.err == f"main.py: error: --model mine.py:net failed: {words}\n" and "Traceback" not in done.out
    summary = json.loads(Path("Results/data", experiment, "x", "summary.json").read_text())
    assert summary["status"] == "failed" and words in summary["reason"]


def test_one_density_in_three_ways_is_one_run(command):
    assert command(*TINY, "--sparsity", "0.9", "--expid", "x").status == 0
    assert "Already done" in command(*TINY, "--compression", "1", "--expid", "x").out
    assert "Already done" in command(*TINY, "--density", "0.1", "--expid", "x").out


def test_collapse_is_said_and_flagged(command):
    """A network without a path learns nothing: 11.35 % was published as a property of the method."""
    done = command("--pruner", "synflow", "--compression", "1", "--prune-epochs", "1", "--post-epochs", "1")
    assert done.status == 0 and "LAYER COLLAPSE" in done.out and "UNTRAINED" in done.out and "11.35" in done.out
    summary = json.loads((folder_of() / "summary.json").read_text())
    assert summary["collapsed"] and summary["untrained"] and summary["collapsed_layers"] == ["1"]


def test_magnitude_on_untrained_weights_is_noted(command):
    assert "NOTE: magnitudes of untrained weights" in command(*TINY, "--pruner", "mag", "--no-save").out
    assert "NOTE" not in command(*TINY, "--pruner", "mag", "--pre-epochs", "1", "--no-save").out
    assert "NOTE" not in command(*TINY, "--pruner", "rand", "--no-save").out


@pytest.mark.parametrize("pruner", ["rand", "mag", "synflow"])
def test_data_free_methods_prune_without_any_dataset(command, pruner):
    done = command("--experiment", "prune", "--dataset", "cifar100", "--model", "resnet20", "--pruner", pruner, "--compression", "1",
                   "--prune-epochs", "1", "--data-dir", "nowhere", "--no-download")  # fmt: skip
    assert done.status == 0 and "Parameter Sparsity:" in done.out and "Train results" not in done.out
    summary = json.loads((folder_of("prune") / "summary.json").read_text())
    assert summary["status"] == "done" and summary["top1_last"] is None
    assert "Already done" in command("--experiment", "prune", "--dataset", "cifar100", "--model", "resnet20", "--pruner", pruner,
                                     "--compression", "1", "--prune-epochs", "1", "--no-download").out  # fmt: skip


BASE = ["--experiment", "prune", "--dataset", "synthetic:3x8x8:3:60", "--model", "resnet20", "--compression", "0.5", "--expid"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The pruned network without any of the flags."""
    folder = trained(tmp_path_factory, [*BASE, "plain", "--prune-epochs", "2", "--pruner", "snip"])
    return torch.load(folder / "Results/data/prune/plain/model.pt", weights_only=True)


@pytest.mark.parametrize("flags", [
    ["--seed", "2"], ["--compression-schedule", "linear"], ["--mask-scope", "local"], ["--prune-dataset-ratio", "3"],
    ["--prune-batch-size", "7"], ["--prune-bias"], ["--prune-batchnorm"], ["--prune-train-mode"], ["--reinitialize"], ["--shuffle"],
    ["--invert"], ["--dense-classifier"], ["--prune-epochs", "3"], ["--pruner", "grasp"],
], ids=" ".join)  # fmt: skip
def test_every_pruning_flag_changes_the_network(command, plain, flags):
    done = command(*BASE, "changed", "--prune-epochs", "2", "--pruner", "snip", *flags)
    assert done.status == 0, done.err
    changed = torch.load("Results/data/prune/changed/model.pt", weights_only=True)
    assert plain.keys() != changed.keys() or not all(torch.equal(plain[k], changed[k]) for k in plain)


def test_pruning_shortcuts(command):
    """`--prune-residual` raised on every model with residuals."""
    done = command("--experiment", "prune", "--dataset", "cifar10", "--model", "resnet20", "--pruner", "synflow", "--compression", "1",
                   "--prune-residual", "--prune-batchnorm", "--prune-bias", "--prune-epochs", "3")  # fmt: skip
    assert done.status == 0
    table = pd.read_csv(folder_of("prune") / "compression.csv")
    assert table["prunable"].all() and table["kept"].sum() == math.ceil(table["size"].sum() / 10)


def test_reinitialize_draws_new_weights_and_keeps_the_masks(command):
    """It crashed on networks without `_initialize_weights` and was overwritten by rewinding."""
    states = []
    for name, extra in (("plain", []), ("fresh", ["--reinitialize"])):
        assert command(*BASE, name, "--pruner", "synflow", "--prune-epochs", "2", *extra).status == 0
        states.append(torch.load(f"Results/data/prune/{name}/model.pt", weights_only=True))
    plain, fresh = states
    for key in plain:
        if key.endswith("_mask"):
            assert torch.equal(plain[key], fresh[key])
            weights = fresh[key.removesuffix("_mask")]
            assert not weights[fresh[key] == 0].any() and not torch.equal(weights, plain[key.removesuffix("_mask")])


def test_weights_from_a_file(command):
    assert command(*TINY, "--expid", "first").status == 0
    done = command(*TINY, "--expid", "second", "--weights", "Results/data/singleshot/first/model.pt", "--post-epochs", "0")
    first, second = (pd.read_csv(f"Results/data/singleshot/{n}/post-train.csv") for n in ("first", "second"))
    assert done.status == 0 and second["test_loss"][0] == pytest.approx(first["test_loss"].iloc[-1])


def test_a_model_of_ones_own(command):
    Path("mine.py").write_text("from torch import nn\ndef net(shape, classes):\n"
                               "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(), nn.Linear(9, classes))\n")  # fmt: skip
    done = command("--dataset", "synthetic:1x8x8:3:60", "--model", "mine.py:net", "--pruner", "grasp", "--compression", "0.5", "--post-epochs", "1")
    assert done.status == 0 and "Parameter Sparsity:" in done.out


@pytest.mark.parametrize(("what", "words"), [
    ("pruners", ["synflow", "100", "scoring images", "arXiv 2006.05467"]), ("datasets", ["tiny-imagenet", "folder:", "synthetic:"]),
    ("experiments", ["singleshot", "prune", "evaluate", "data"]), ("models", ["wide-resnet1202", "14719818", "--model-class torchvision"]),
])  # fmt: skip
def test_lists(command, what, words):
    done = command("--list", what)
    assert done.status == 0 and all(word in done.out for word in words), done.out


def test_the_data_experiment(command):
    done = command("--experiment", "data", "--dataset", "mnist")
    assert done.status == 0 and "60000 training and 10000 test images of 1x28x28, 10 classes" in done.out


def test_tables_are_never_shortened(command):
    done = command("--experiment", "prune", "--dataset", "cifar10", "--model", "resnet56", "--pruner", "rand", "--compression", "1")
    lines = done.out[done.out.index("Prune results:") :].splitlines()
    assert "..." not in done.out and len([line for line in lines if "blocks." in line]) >= 27 * 6
