"""Networks of one's own, and odd ones: shared weights, functional layers, constants, small last batches."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from Models import registry
from Models.masking import add_masks
from Utils.data.batches import batch_sizes
from Utils.measure.counting import compression_table, totals, uncounted, uses_per_entry

DATA = ["--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1", "--no-save"]
FILE = """
import torch
from torch import nn
def net(shape, classes, hidden=HIDDEN):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, classes))
class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 3)
    def forward(self, x):
        out = self.layer(x.flatten(1))
        return (out, out) if self.training else out
def tuple_when_training(shape, classes): return Tuple()
def frozen(shape, classes):
    model = net(shape, classes)
    for p in model.parameters(): p.requires_grad = False
    return model
"""


def write(hidden=9):
    Path("mine.py").write_text(FILE.replace("HIDDEN", str(hidden)))


def test_networks_that_fail_late_fail_in_one_line(command):
    write()
    done = command("--model", "mine.py:frozen", *DATA)
    assert done.status == 1 and done.err.count("\n") == 1 and "mine.py:frozen" in done.err


def test_an_auxiliary_head_in_training_is_refused_before_the_run(refused, command):
    write()
    words = ["--model", "mine.py:tuple_when_training", *DATA]
    refused(words, "into a tuple ([2, 3], [2, 3]) in train mode, not into [2, 3]", "return only output[0], in train mode too")
    assert command("--experiment", "prune", *words[:4], "--no-save").status == 0  # nothing is trained
    refused(["--experiment", "prune", *words[:4], "--no-save", "--prune-train-mode"], "output[0]")


def test_an_edited_network_is_another_run(command, refused):
    """Its name alone printed the old network's tables."""
    write(9)
    words = ["--dataset", "synthetic:1x8x8:3:60", "--model", "mine.py:net", "--post-epochs", "1"]
    assert command(*words, "--expid", "x").status == command(*words).status == 0
    write(50)
    refused([*words, "--expid", "x"], "SHA-256 of mine.py")
    assert "Already done" not in command(*words).out


def test_a_last_batch_of_one_image_joins_the_one_before(command):
    """BatchNorm cannot train on one image whose map is 1x1."""
    assert batch_sizes(65, 32) == [32, 33] and batch_sizes(66, 32) == [32, 32, 2] and batch_sizes(1, 32) == [1]
    done = command("--dataset", "synthetic:3x16x16:3:65", "--model", "vgg11-bn", "--post-epochs", "1", "--no-save")
    assert done.status == 0, done.err


def table(model, shape):
    prunables = add_masks(model)
    return compression_table(model, prunables, [torch.ones_like(p.mask) for p in prunables], shape)


def test_shared_weights_count_once_and_work_twice():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    sums = totals(table(nn.Sequential(nn.Flatten(), first, second, nn.Linear(4, 2, bias=False)), (1, 2, 2)))
    assert sums["params_total"] == 16 + 8 and sums["flops_total"] == 2 * 16 + 8


def test_positions_wherever_they_are():
    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.last, self.norm = nn.Linear(4, 3, bias=False), nn.Linear(12, 2, bias=False), nn.LayerNorm(3)

        def forward(self, x):
            return self.last(self.norm(self.rows(x.reshape(-1, 4))).reshape(len(x), -1))

    assert uses_per_entry(Folded(), (1, 4, 4)) == {"rows.weight": 4, "last.weight": 1, "norm.weight": 4, "norm.bias": 4}


def test_attention_is_counted():
    """vit_b_16 at 224: weights alone, without the products of the attention itself."""
    rows = table(registry.build("vit_b_16", "torchvision", (3, 224, 224), 10), (3, 224, 224))
    heads = rows[rows["module"].str.endswith("self_attention")]
    assert (heads.loc[heads["param"] == "in_proj_weight", ["flops", "macs"]] == 197 * 768 * 768 * 3).all(axis=None)
    assert not uncounted(rows)


def test_a_layer_that_nothing_uses_is_named_as_such(command):
    """It was said that a function of the model uses its weights."""
    Path("aux.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n  def __init__(self, shape, classes):\n    super().__init__()\n"
        "    self.a, self.aux = nn.Linear(64, classes), nn.Linear(64, classes)\n"
        "  def forward(self, x): return self.a(x.flatten(1))\n"
    )
    words = ["--experiment", "prune", "--model", "aux.py:Net", "--dataset", "synthetic:1x8x8:3:60"]
    done = command(*words, "--expid", "x")
    assert done.status == 0 and "no image passes through these layers" in done.out and ": aux (192 weights); " in done.out
    assert "a function of the model" not in done.out
    assert json.loads(Path("Results/data/prune/x/summary.json").read_text())["unused_layers"] == ["aux"]
    done = command(*words, "--expid", "y", "--dense-classifier")
    table = pd.read_csv("Results/data/prune/y/compression.csv")
    assert table.loc[table["prunable"], "module"].tolist() == ["aux"]


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.last = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.last(nn.functional.linear(x.flatten(1), self.hidden.weight, self.hidden.bias))


def test_a_layer_whose_weights_a_function_takes_is_counted():
    rows = table(Functional(), (1, 2, 2))
    assert uncounted(rows) == [] and rows["flops"].tolist() == [16, 4, 8, 2] and totals(rows)["macs_total"] == 24


@pytest.mark.parametrize("damage", ["args.json", "model.pt", "post-train.csv", "compression.csv"])
def test_a_damaged_folder_is_not_taken_for_a_finished_run(finished, command, refused, damage):
    words = ["--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1", "--expid", "x"]
    finished(*words)
    file = Path("Results/data/singleshot/x", damage)
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    refused(words, damage)
    file.unlink()
    refused(words, damage, "--overwrite")
    assert command(*words, "--overwrite").status == 0 and "Already done" in command(*words).out


def test_a_loss_that_is_nan_only_after_the_last_step_is_a_failure(command):
    done = command("--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1", "--optimizer", "sgd", "--lr", "1e38",
                   "--train-batch-size", "100", "--expid", "x")  # fmt: skip
    assert done.status == 1 and "diverged at epoch 1" in done.err
    assert json.loads(Path("Results/data/singleshot/x/summary.json").read_text())["status"] == "failed"
    assert len(pd.read_csv("Results/data/singleshot/x/post-train.csv")) == 2


def test_evaluate_leaves_out_what_has_no_network(command):
    words = ["--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1", "--expid"]
    assert command(*words, "good").status == 0
    command(*words, "bad", "--optimizer", "sgd", "--lr", "1e38", "--train-batch-size", "8")
    done = command("--experiment", "evaluate", "--run", "Results/data/singleshot/bad", "Results/data/singleshot/good")
    assert done.status == 0 and "bad: no saved network" in done.out and "good: test loss" in done.out


def test_class_names_of_named_sets_mean_the_named_sets():
    from Utils.options.command_line import parse
    from Utils.options.resolve import identity

    assert identity(parse(["--dataset", "MNIST"])) == identity(parse(["--dataset", "mnist"]))
    assert parse(["--dataset", "ImageNet", "--model", "resnet50"]).model_class == "imagenet"
