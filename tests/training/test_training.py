"""Training and evaluation: values, streams of random numbers, devices."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from Models import registry
from Models.layers import Identity2d
from Models.masking import add_masks, hold_masks, trainable_parameters
from Utils.compute.clock import Clock
from Utils.compute.precision import Precision
from Utils.data.batches import TensorSplit
from Utils.data.open_set import open_dataset
from Utils.options.types import Options
from Utils.runs.summary import class_frequency_loss, training_summary
from Utils.training.loops import evaluate, train_epoch
from Utils.training.loops import test_sums as sums_over
from Utils.training.masked_network import MaskedNetwork
from Utils.training.optimizers import make_optimizer
from Utils.training.phase import COLUMNS, Diverged, Training


class Constant(nn.Module):
    """Logits that do not depend on the input."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


def batch(*labels):
    return [(torch.zeros(len(labels), 1), torch.tensor(labels))]


def test_evaluation_by_hand():
    loss, top1, top5 = evaluate(Constant(3.0, 2.0, 1.0, 0.0, -1.0, -2.0), batch(0, 1, 5, 0))
    log_total = math.log(sum(math.exp(z) for z in (3, 2, 1, 0, -1, -2)))
    assert loss == pytest.approx(log_total - (3 + 2 - 2 + 3) / 4) and (top1, top5) == (50, 75)


def test_means_weigh_a_smaller_last_batch_by_its_size():
    parts = batch(0, 0, 0) + batch(1)
    assert evaluate(Constant(5.0, 0.0), parts)[1] == 75
    assert evaluate(Constant(5.0, 0.0), parts)[0] == pytest.approx(evaluate(Constant(5.0, 0.0), batch(0, 0, 0, 1))[0])


def test_fewer_than_five_classes():
    """topk(5) failed here."""
    assert evaluate(Constant(1.0, 0.0), batch(0, 1))[1:] == (50, 100)


def test_training_loss_is_the_mean_over_images():
    model = Constant(2.0, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    mean = train_epoch(model, optimizer, batch(0, 0, 0) + batch(1))
    assert mean.dtype == torch.float64 and mean.item() == pytest.approx(evaluate(model, batch(0, 0, 0, 1))[0])


@pytest.mark.parametrize(("name", "kind", "settings"), [
    ("sgd", torch.optim.SGD, {"momentum": 0, "nesterov": False}), ("momentum", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    ("adam", torch.optim.Adam, {"betas": (0.9, 0.999)}), ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8}), ("rms", torch.optim.RMSprop, {"alpha": 0.99}),
])  # fmt: skip
def test_optimizers(name, kind, settings):
    optimizer = make_optimizer(nn.Linear(2, 2), name, 0.25, 0.5)
    assert type(optimizer) is kind
    group = optimizer.param_groups[0]
    assert {k: group[k] for k in settings} == settings and (group["lr"], group["weight_decay"]) == (0.25, 0.5)


def test_identity_multipliers_are_never_trained():
    model = registry.build("resnet20", "lottery", (3, 32, 32), 10)
    fixed = [m.weight for m in model.modules() if isinstance(m, Identity2d)]
    assert fixed and not {id(p) for p in fixed} & {id(p) for p in trainable_parameters(model)}


def setting(**kwargs):
    return Options(**{"lr": 0.01, "train_batch_size": 16, "test_batch_size": 16} | kwargs)


def small_run(epochs=2, disturb=False, **kwargs):
    data = open_dataset("synthetic:1x6x6:3:90")
    data.load()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 3))
    if disturb:
        torch.manual_seed(12345)
    cpu = torch.device("cpu")
    network = MaskedNetwork(model, add_masks(model), data, cpu, setting(**kwargs), Precision(cpu))
    return Training(network, "post_train", Clock(cpu)).run(epochs), model


def test_the_table_of_a_phase():
    table, _ = small_run(3, lr_drops=(1, 2))
    assert tuple(table.columns) == COLUMNS and table["epoch"].tolist() == [0, 1, 2, 3]
    assert pd.isna(table["train_loss"][0]) and pd.isna(table["lr"][0]) and table["seconds"][0] == 0
    assert table["lr"][1:].tolist() == pytest.approx([0.01, 0.001, 0.0001])
    assert table["seconds"][1:].gt(0).all()


def test_training_learns():
    table, _ = small_run(8)
    assert table["top1_accuracy"].iloc[-1] > 85 > table["top1_accuracy"][0]


def test_nothing_before_it_shifts_the_training():
    """Draws of a pruner moved the order, augmentation and dropout of the training after it."""
    (a, model), (b, other) = small_run(), small_run(disturb=True)
    assert a.drop(columns="seconds").equals(b.drop(columns="seconds"))
    assert all(torch.equal(x, y) for x, y in zip(model.parameters(), other.parameters(), strict=True))
    assert not a.drop(columns="seconds").equals(small_run(seed=2)[0].drop(columns="seconds"))


def test_phases_do_not_share_optimizer_or_schedule():
    """Post-training used to begin with pre-training's decayed learning rate."""
    table, _ = small_run(1, lr_drops=(1,))
    again, _ = small_run(1, lr_drops=(1,))
    assert table["lr"][1] == again["lr"][1] == 0.01


def test_a_loss_that_is_not_finite_stops_with_its_rows():
    with pytest.raises(Diverged, match="diverged at epoch 1 of post_train") as caught:
        small_run(5, optimizer="sgd", lr=1e38)
    assert caught.value.rows["epoch"].tolist() == [0, 1]


def test_the_loss_of_the_class_frequencies():
    data = SimpleNamespace(train_labels=torch.tensor([0, 0, 0, 1]), test_labels=torch.tensor([0, 1]), num_classes=2)
    want = -(math.log(0.75) + math.log(0.25)) / 2
    assert class_frequency_loss(data) == pytest.approx(want)
    rows = [(0, None, 9.0, 10.0, 50.0, None, 0.0), (1, 1.0, want, 40.0, 50.0, 0.1, 1.0), (2, 1.0, want * 0.9995, 30.0, 60.0, 0.1, 1.0)]
    summary = training_summary(pd.DataFrame(rows, columns=COLUMNS), data)
    assert summary["untrained"] and (summary["top1_last"], summary["top1_best"], summary["best_epoch"]) == (30, 40, 1)
    rows[2] = (2, 1.0, want * 0.99, 30.0, 60.0, 0.1, 1.0)
    assert not training_summary(pd.DataFrame(rows, columns=COLUMNS), data)["untrained"]


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "rms"])
@pytest.mark.parametrize("kind", ["conv", "resnet20", "vgg11-bn"])
def test_steps_read_nothing_back_from_the_device(name, kind):
    """On `meta` every host read and every tensor left on the CPU raises: a training epoch and a test pass must not."""
    shape = (1, 28, 28) if kind == "conv" else (3, 32, 32)
    model = registry.build(kind, "default" if kind == "conv" else "lottery", shape, 10)
    prunables = add_masks(model)
    model.to("meta")
    split = TensorSplit(torch.empty(20, *shape, dtype=torch.uint8, device="meta"), torch.empty(20, dtype=torch.long, device="meta"),
                        (0.5,) * shape[0], (0.5,) * shape[0], "crop-flip")  # fmt: skip
    optimizer = make_optimizer(model, name, 0.1, 0.1)
    hold_masks(optimizer, prunables)
    loss = train_epoch(model, optimizer, split.train_batches(8, 1, "post_train", 1))
    sums, count = sums_over(model, split.plain_batches(8))
    assert loss.device.type == sums.device.type == "meta" and count == 20
