"""Cells of density 1: they are the dense network, which a grid trains once; their rows name the cell that trained it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import TINY

from Utils.report.findings import leaders
from Utils.report.groups import groups
from Utils.training.phase import Training

GRID = [*TINY, "--pruner-list", "snip", "mag", "--compression-list", "0", "1", "--expid", "g"]


@pytest.fixture
def trained(command, monkeypatch):
    """A function that runs a grid, and returns the phases that it trained, and its table."""

    def run(*words: object) -> tuple[list[str], pd.DataFrame]:
        phases, whole = [], Training.run
        monkeypatch.setattr(Training, "run", lambda self, *args, **more: phases.append(self.phase) or whole(self, *args, **more))
        done = command(*words)
        monkeypatch.setattr(Training, "run", whole)
        assert done.status == 0, done.err
        return phases, pd.read_csv("Results/data/singleshot/g/grid.csv").set_index("cell")

    return run


def cell(name: str, file: str) -> Path:
    return Path("Results/data/singleshot/g", name, file)


def test_the_dense_network_is_trained_once(trained, command):
    """Of five cells three train; the folders of the others are those of any run, with the dense cell's numbers."""
    phases, table = trained(*GRID)
    assert phases.count("post_train") == 3 and (table["status"] == "done").all()
    assert table["same_as"].dropna().to_dict() == {f"pruner={p},compression=0": "pruner=dense" for p in ("snip", "mag")}
    name = table["same_as"].dropna().index[0]
    assert table.loc[name, ["top1_last", "top1_best", "test_loss_last", "best_epoch"]].tolist() == \
        table.loc["pruner=dense", ["top1_last", "top1_best", "test_loss_last", "best_epoch"]].tolist()
    assert cell(name, "post-train.csv").read_bytes() == cell("pruner=dense", "post-train.csv").read_bytes()
    for file in ("model.pt", "optimizer.pt"):
        one, other = (torch.load(cell(n, file), weights_only=True) for n in (name, "pruner=dense"))
        assert str(one) == str(other)
    assert command("--experiment", "evaluate", "--run", "Results/data/singleshot/g").status == 0
    assert "5 cells, 5 done" in command(*GRID, "--dry-run").out

    alone = command(*TINY, "--pruner", "snip", "--compression", "0", "--expid", "alone")  # no cell: it trains itself, to the same numbers
    own = json.loads(Path("Results/data/singleshot/alone/summary.json").read_text())
    assert alone.status == 0 and "same_as" not in own and own["test_loss_last"] == table.loc[name, "test_loss_last"]


@pytest.mark.parametrize("words", [["--for", "mag:post-epochs=2", "mag:lr=0.5"], ["--for", "mag:pre-epochs=1"], ["--reinitialize"]], ids=" ".join)
def test_another_recipe_or_another_network_is_trained(trained, words):
    _, table = trained(*TINY, "--pruner-list", "mag", "--compression-list", "0", "--expid", "g", *words)
    assert "same_as" not in table and (table["status"] == "done").all()


@pytest.mark.long
def test_with_several_processes_it_is_waited_for(command):
    done = command(*GRID, "--jobs", "2", "--no-cuda")
    table = pd.read_csv("Results/data/singleshot/g/grid.csv")
    assert done.status == 0 and table["same_as"].dropna().tolist() == ["pruner=dense"] * 2


def test_no_method_leads_at_compression_0():
    from reports import collection, made

    (group,) = groups(collection(made("snip", 0.0, top1=90.0), made("mag", 0.0, top1=89.0), made("snip", 1.0, top1=80.0), made("mag", 1.0, top1=70.0)))
    lines = leaders(group)
    assert len(lines) == 1 and lines[0].startswith("At compression 1, snip leads with 80.00 %")
