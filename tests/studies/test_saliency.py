"""Saliency by layer and class: values by hand, statistics, and the experiment."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import assert_same, snapshot
from torch import nn

from Models.masking import add_masks, apply_masks
from Utils.data.held_out import draw_held_out
from Utils.data.open_set import open_dataset
from Utils.studies.class_saliency import class_images, class_saliencies, class_table, layer_table, measure


@pytest.fixture
def parts():
    data = open_dataset("synthetic:1x4x4:3:60")
    data.load()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_((torch.rand(p.mask.shape) < 0.6).float())
    apply_masks(prunables)
    return data, model, {p.module_name: p for p in prunables}


def test_saliencies_are_those_of_their_definition(parts):
    data, model, layers = parts
    images = class_images(data, 10)[1]
    before = snapshot(model)
    found = class_saliencies(model, layers, data, images, 4)
    assert_same(before, snapshot(model))
    batches = data.subset_batches(images, 4)
    first, second = 0.0, 0.0
    for x, y in batches:
        assert (y == 1).all()
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        first = first + model[3].weight.grad.abs() / len(batches)
        second = second + (model[3].weight.grad * model[3].weight.detach()).square() / len(batches)
    assert torch.allclose(found["first"]["3"], first) and torch.allclose(found["second"]["3"], second)


def test_images_of_a_class_also_of_a_set_that_holds_some_out(parts):
    data = parts[0]
    for view in (data, data.without(draw_held_out(data.train_size, 0.5, 1))):
        for label, images in class_images(view, 7).items():
            assert len(images) <= 7 and all(int(y) == label for _, ys in view.subset_batches(images, 3) for y in ys)
        everything = torch.cat(list(class_images(view, 10**6).values()))
        assert len(everything) == view.train_size == len(everything.unique())
    assert not set(everything.tolist()) & set(view.val_indices.tolist())


def test_statistics_by_layer(parts):
    data, model, layers = parts
    found = measure(model, layers, data, 8, 4)
    table, classes = layer_table(found, 90), class_table(found)
    images = class_images(data, 8)
    assert len(table) == 4 and len(classes) == 12 and set(images) == {0, 1, 2}
    for (order, name), spread in found.spreads.items():
        row = table[(table["layer"] == name) & (table["order"] == order)].iloc[0]
        means = classes[(classes["layer"] == name) & (classes["order"] == order)]["mean"]
        assert row["kept"] == int(layers[name].mask.sum()) and row["mean"] == pytest.approx(means.mean())
        assert row["unfairness"] == pytest.approx(means.std(ddof=0) / means.mean())
        assert (spread.high >= spread.low).all() and spread.count == 3 and set(spread.top.tolist()) <= {0, 1, 2}
    total = sum(int(p.mask.sum()) for p in layers.values())
    for _, part in table.groupby("order"):
        assert 0 < part["biased"].sum() <= 0.1 * total + 1


def test_a_class_without_images_is_left_out(parts, monkeypatch):
    data, model, layers = parts
    whole = class_images(data, 8)
    monkeypatch.setattr("Utils.studies.class_saliency.class_images", lambda *_: whole | {0: torch.tensor([], dtype=torch.int64)})
    assert set(class_table(measure(model, layers, data, 8, 4))["class"]) == {1, 2}


def test_the_experiment_writes_into_the_runs_folder(command):
    words = ["--dataset", "synthetic:1x8x8:3:90", "--model", "conv", "--pruner", "rand", "--compression", "1", "--post-epochs", "1"]
    assert command(*words, "--expid", "s").status == 0
    folder = Path("Results/data/singleshot/s")
    done = command("--experiment", "saliency", "--run", folder, "--saliency-images", "8", "--saliency-batch-size", "4")
    assert done.status == 0, done.err
    table = pd.read_csv(folder / "saliency.csv", dtype={"layer": str})
    assert table["layer"].tolist() == ["0", "2", "5"] * 2 and table["order"].tolist() == ["first"] * 3 + ["second"] * 3
    assert len(pd.read_csv(folder / "saliency-classes.csv")) == 18 and "the classes differ most in" in done.out
    assert all((folder / f"saliency-{order}.{kind}").exists() for order in ("first", "second") for kind in ("png", "pdf"))
    assert "Already done" in command(*words, "--expid", "s").out  # still a finished run


def test_refusals(refused):
    refused(["--experiment", "saliency"], "--run FOLDER")
    refused(["--experiment", "saliency", "--run", "nowhere"], "nowhere", "model.pt")
    refused(["--experiment", "saliency", "--run", "x", "--saliency-percentile", "100"], "--saliency-percentile", "below 100")
