"""The textbook version does the same work: same scores, same masks, same training, so that times may be compared."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import PROJECT

import Pruners
from benchmarks import rows, textbook
from Models.masking import add_masks, hold_masks
from Pruners.loop import prune_loop
from Pruners.problem import Problem
from Utils.training import evaluate, make_optimizer, train_epoch


def batches(count):
    torch.manual_seed(7)
    return [(torch.randn(12, 3, 32, 32), torch.arange(12) % 10) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["snip", "grasp"])
def test_scores_are_the_same(name, count):
    model, data = rows.network("resnet20"), batches(count)
    p = Problem(model, add_masks(model), (3, 32, 32), read_batches=lambda: data)
    with p.scoring(0):
        ours = Pruners.load(name)().score(p)
    theirs = getattr(textbook, name)(textbook.masked(rows.network("resnet20")), data)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def test_synflow_keeps_the_same_weights():
    model = rows.network("conv")
    p = Problem(model, add_masks(model), (1, 28, 28))
    prune_loop(p, Pruners.load("synflow")(), 0.1, rounds=5)
    other = textbook.masked(rows.network("conv"))
    textbook.synflow(other, 0.1, 5, (1, 28, 28))
    assert all(torch.equal(a, b) for a, (b, _) in zip(p.masks, textbook.prunable(other), strict=True))


def test_training_and_evaluation_are_the_same():
    model, data = rows.network("resnet20"), batches(3)
    prunables = add_masks(model)
    optimizer = make_optimizer(model, "adam", 0.001, 0.0)
    hold_masks(optimizer, prunables)
    other = textbook.masked(rows.network("resnet20"))
    ours = train_epoch(model, optimizer, data).item()
    theirs = textbook.train_epoch(other, torch.optim.Adam(other.parameters(), lr=0.001), data)
    assert ours == pytest.approx(theirs, rel=1e-3)
    assert evaluate(model, data)[1:] == pytest.approx(textbook.evaluate(other, data)[1:], abs=10)


def test_the_results_are_those_of_a_whole_run():
    results = json.loads((PROJECT / "benchmarks/results.json").read_text())
    assert set(results["rows"]) == set(rows.ROWS) and results["rows"]["synflow"]["same_kept_counts"]
    for name, row in results["rows"].items():
        assert all(len(seconds) == results["repeats"] >= 5 for seconds in row["seconds"].values())
        assert row["target"] == rows.ROWS[name].target
