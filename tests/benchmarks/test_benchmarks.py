"""The textbook version does the same work: same scores, same masks, same training, so that times may be compared."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from conftest import PROJECT

import Pruners
from benchmarks import grid, report, rows, single, textbook
from Models.masking import add_masks, hold_masks
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Utils.training.loops import evaluate, train_epoch
from Utils.training.optimizers import make_optimizer


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
    """In double precision, since Adam makes much of a processor's rounding."""
    model, data = rows.network("resnet20").double(), [(images.double(), labels) for images, labels in batches(3)]
    prunables = add_masks(model)
    optimizer = make_optimizer(model, "adam", 0.001, 0.0)
    hold_masks(optimizer, prunables)
    other = textbook.masked(rows.network("resnet20")).double()
    ours = train_epoch(model, optimizer, data).item()
    theirs = textbook.train_epoch(other, torch.optim.Adam(other.parameters(), lr=0.001), data)
    assert ours == pytest.approx(theirs, rel=1e-6)
    assert evaluate(model, data)[1:] == pytest.approx(textbook.evaluate(other, data)[1:], rel=1e-6)


def test_single_runs_do_the_work_of_a_grid(command, tmp_path, monkeypatch, capsys):
    words = ["--post-epochs", "0", "--for", "mag:pre-epochs=1", "mag:post-epochs=1", "--data-dir", PROJECT / "Data"]
    lists = ["--pruner-list", "mag", "snip", "synflow", "--compression-list", "0.5"]
    assert command(*lists, *words, "--result-dir", tmp_path).status == 0
    ours = grid.saved_work(tmp_path)
    whole = textbook.mnist_loader
    # All scoring images, but no more than some of the others: their number changes neither budgets nor epochs.
    monkeypatch.setattr(textbook, "mnist_loader", lambda *given: whole(*given) if given[2:] else list(islice(whole(*given), 9)))
    theirs = {}
    for pruner, epochs in (("mag", 1), ("snip", 0), ("synflow", 0)):
        words = ["--pruner", pruner, "--compression", "0.5", "--pre-epochs", str(epochs), "--post-epochs", str(epochs)]
        single.main(words)
        theirs[f"{pruner} 0.5"] = grid.printed_work(capsys.readouterr().out)
    compared = grid.compare(ours, theirs)
    assert compared["same_kept_counts"] and compared["same_evaluations"], (ours, theirs)
    assert [work.evaluations for work in theirs.values()] == [(2, 2), (1, 1), (1, 1)]
    assert ours["synflow 0.5"].kept == theirs["synflow 0.5"].kept
    assert ours["snip 0.5"].kept == pytest.approx(theirs["snip 0.5"].kept, abs=3)  # of scores that differ by rounding


def test_the_grid_is_asked_for_as_a_user_would():
    asked = "main.py --pruner-list rand mag snip grasp synflow --compression-list 0.2 0.5 1 --post-epochs 2"
    asked += " --for mag:pre-epochs=5 --jobs 2 --result-dir DIR"
    assert " ".join(grid.Plan().command("DIR", 2)) == asked
    loop = grid.Plan().loop()
    assert len(loop) == 15 and sum("--pre-epochs" in words for words in loop.values()) == 3
    assert set(grid.Plan().pruners) == set(single.PRUNERS)


def test_the_grid_goes_beside_the_other_rows(tmp_path):
    before = report.load()
    before["rows"].pop("grid", None)
    report.write(before, tmp_path)
    old = (tmp_path / "results.md").read_text().splitlines()
    row = {"title": grid.TITLE, "unit": "s", "target": grid.TARGET, "medians": {"ours": 30.0, "textbook": 315.0}}
    row |= {"repeats": 1, "jobs": 2, "machine": "a machine"}
    report.merge(row, "grid", tmp_path)
    after = report.load(tmp_path)
    assert after["rows"].pop("grid") == row and after == before
    lines = (tmp_path / "results.md").read_text().splitlines()
    assert f"| {grid.TITLE} | 30 s | 315 s | - | 10.50 | 10 |" in lines
    assert [line for line in lines if line and line in old] == [line for line in old if line]


def test_the_results_are_those_of_a_whole_run():
    results = report.load()
    assert (PROJECT / "benchmarks/results.md").read_text() == report.render(results)
    measured = {name: row for name, row in results["rows"].items() if name != "grid"}
    assert set(measured) == set(rows.ROWS) and measured["synflow"]["same_kept_counts"]
    for name, row in measured.items():
        assert all(len(seconds) == results["repeats"] >= 5 for seconds in row["seconds"].values())
        assert row["target"] == rows.ROWS[name].target
    if whole := results["rows"].get("grid"):
        assert whole["same_kept_counts"] and whole["same_evaluations"] and whole["target"] == grid.TARGET
        assert all(len(seconds) == whole["repeats"] >= 1 for seconds in whole["seconds"].values())
        assert len(whole["cells"]) == 15
