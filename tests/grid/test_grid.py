"""Grids through the command line: cells, their folders and table, failures, several processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from Utils.data.dataset import Dataset
from Utils.options.command_line import parse

BASE = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "1", "--prune-epochs", "2", "--expid", "g"]
GRID = Path("Results/data/singleshot/g")


def table():
    return pd.read_csv(GRID / "grid.csv")


def test_cells_and_names():
    """Dense first, once for each network and seed; then every combination, in the order of the flags."""
    plan = parse(["--seed-list", "1", "2", "--compression-list", "0.5", "1.0", "--pruner-list", "snip", "mag", "--for", "mag:pre-epochs=200", "mag:lr-drops=60,120"])
    names = [cell.name for cell in plan.cells]
    assert names[:4] == ["pruner=dense,seed=1", "pruner=dense,seed=2", "pruner=snip,compression=0.5,seed=1", "pruner=snip,compression=0.5,seed=2"]
    assert names[-1] == "pruner=mag,compression=1,seed=2" and len(names) == 10
    for cell in plan.cells:
        mag = "mag" in cell.name
        assert cell.options.pre_epochs == (200 if mag else 0) and cell.options.lr_drops == ([60, 120] if mag else [])
        assert cell.options.density == pytest.approx(1 if "dense" in cell.name else 10**-cell.options.compression, rel=1e-14)
        assert cell.options.expid == f"{plan.expid}/{cell.name}"
        assert not any(word in cell.options.record() for word in ("pruner_list", "for", "cells"))


@pytest.mark.parametrize(("words", "names"), [
    ("--experiment prune --density-list 0.1 0.25 --pruner mag", ["density=0.1", "density=0.25"]),
    ("--experiment prune --sparsity-list 0.9 --model-list fc conv", ["model=fc,sparsity=0.9", "model=conv,sparsity=0.9"]),
    ("--prune-epoch-list 1 10 --pruner synflow", ["pruner=dense", "prune_epochs=1", "prune_epochs=10"]),
    ("--ablate none invert --pruner snip", ["pruner=dense", "ablate=none", "ablate=invert"]),
    ("--pruner-list dense rand --compression-list 1 2", ["pruner=dense", "pruner=rand,compression=1", "pruner=rand,compression=2"]),
    ("--experiment multishot --level-list 1 3 --pruner-list mag --compression 1", ["pruner=dense", "pruner=mag,level=1", "pruner=mag,level=3"]),
])  # fmt: skip
def test_any_list_makes_a_grid(words, names):
    assert [cell.name for cell in parse(words.split()).cells] == names


def test_a_grid_without_expid_is_named_by_its_cells():
    one, same, other = (parse(f"--seed-list {seeds} --gpu {gpu}".split()).expid for seeds, gpu in (("1 2", 0), ("1 2", 1), ("1 3", 0)))
    assert one == same != other and one.startswith("grid-fc-mnist-")


def test_names_that_no_folder_can_have(tmp_path, command):
    Path("my nets.py").write_text("from torch import nn\ndef net(s, c):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, c))\n")
    done = command("--experiment", "prune", "--dataset", "synthetic:1x8x8:3:60", "--model-list", "my nets.py:net", "fc", "--expid", "g")
    assert done.status == 0, done.err
    folders = sorted(p.name for p in Path("Results/data/prune/g").iterdir() if p.is_dir())
    assert folders[0] == "model=fc" and folders[1].startswith("model=my_nets.py_net,") and len(folders) == 2


def test_a_grid_end_to_end(command):
    words = [*BASE, "--pruner-list", "rand", "synflow", "--compression-list", "0.5", "1", "--seed-list", "1", "2"]
    dry = command(*words, "--dry-run")
    assert dry.status == 0 and dry.out.count(": pending") == 10 and not Path("Results").exists()
    done = command(*words)
    assert done.status == 0 and "10 done, 0 running, 0 pending, 0 failed" in done.out
    frame = table()
    assert frame.columns[:4].tolist() == ["cell", "pruner", "compression", "seed"] and frame.columns[-1] == "reason"
    assert {"status", "top1_last", "params_kept", "flops_kept", "density", "collapsed", "untrained"} <= set(frame.columns)
    assert frame["cell"].tolist()[0] == "pruner=dense,seed=1" and set(frame["status"]) == {"done"}
    for row in frame.itertuples():
        summary = json.loads((GRID / row.cell / "summary.json").read_text())
        assert summary["top1_last"] == row.top1_last and summary["params_kept"] == row.params_kept
        assert summary["expid"] == f"g/{row.cell}" and summary["seed"] == row.seed
    assert "Post-Training" in (GRID / row.cell / "log.txt").read_text()
    before = {p: p.stat().st_mtime_ns for p in GRID.glob("*/*")}
    again = command(*words)
    assert again.status == 0 and "10 cells, 10 done" in again.out and {p: p.stat().st_mtime_ns for p in GRID.glob("*/*")} == before
    assert command(*words, "--dry-run").out.count(": done") == 10


def test_a_cell_is_the_run_that_stands_alone(command):
    """No cell depends on those before it."""
    assert command(*BASE, "--pruner-list", "rand", "snip", "--compression-list", "0.5", "1").status == 0
    alone = ["--pruner", "snip", "--compression", "1", "--expid", "alone"]
    assert command(*BASE[:-2], *alone).status == 0
    folders = GRID / "pruner=snip,compression=1", Path("Results/data/singleshot/alone")
    rows = [pd.read_csv(f / "post-train.csv").drop(columns="seconds") for f in folders]
    states = [torch.load(f / "model.pt", weights_only=True) for f in folders]
    assert rows[0].equals(rows[1]) and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_data_is_read_once(command, monkeypatch):
    reads = []
    original = Dataset._make_splits
    monkeypatch.setattr(Dataset, "_make_splits", lambda self, contents: (reads.append(1), original(self, contents))[1])
    assert command(*BASE, "--seed-list", "1", "2", "3").status == 0
    assert len(reads) == 1


def test_lists_grow_and_recipes_do_not_change(command, refused):
    assert command(*BASE, "--seed-list", "1", "2").status == 0
    refused([*BASE, "--seed-list", "1", "3", "--lr", "0.5"], "another grid", "lr", "0.5")
    refused([*BASE, "--seed-list", "1", "--compression-list", "1"], "--seed-list there", "--compression-list --seed-list asked")
    refused(BASE, "g holds another run")
    done = command(*BASE, "--seed-list", "3", "1")
    assert done.status == 0 and "4 cells, 2 done" in done.out
    assert table()["cell"].tolist() == [f"pruner=dense,seed={s}" for s in (3, 1)] + ["seed=3", "seed=1", "pruner=dense,seed=2", "seed=2"]
    assert command(*BASE, "--seed-list", "1", "--lr", "0.5", "--overwrite").status == 0


def test_what_earlier_commands_left_does_not_mix_in(command, refused):
    """Cells of another recipe were averaged with those asked for."""
    assert command(*BASE, "--seed-list", "1", "2", "--for", "rand:lr=0.1").status == 0
    refused([*BASE, "--seed-list", "3", "--for", "rand:lr=0.01"], "another grid", "--for", "0.1", "0.01")
    Path(GRID, "notes").mkdir()
    Path(GRID, "notes", "args.json").write_text("[1]")
    assert command(*BASE, "--seed-list", "1", "--for", "rand:lr=0.1").status == 0 and len(table()) == 4
    assert command(*BASE, "--seed-list", "1", "--for", "rand:lr=0.01", "--overwrite").status == 0 and len(table()) == 2


def test_a_damaged_cell_is_not_taken_for_done(command):
    assert command(*BASE, "--seed-list", "1", "2").status == 0
    (GRID / "seed=2" / "post-train.csv").write_text("epoch\n")
    done = command(*BASE, "--seed-list", "1", "2")
    assert done.status == 1 and "post-train.csv is missing or damaged" in done.out and done.err.endswith("1 of 4 cells failed: seed=2\n")
    shutil.rmtree(GRID / "seed=2")
    assert command(*BASE, "--seed-list", "1", "2").status == 0


def test_measurements_are_columns(command):
    assert command(*BASE, "--seed-list", "1").status == 0
    names = {"seconds_post_train", "peak_memory_bytes_train", "inference_total_seconds", "inference_dense_batch_seconds_median"}
    assert names <= set(table().columns)
    before = table()["inference_total_seconds"]
    assert command("--experiment", "time", "--run", GRID).status == 0 and command(*BASE, "--seed-list", "1").status == 0
    assert not table()["inference_total_seconds"].equals(before)


@pytest.mark.parametrize(("words", "parts"), [
    (["--compression-list", "1", "12"], ["cell compression=12", "keeps none of the 46700"]),
    (["--model-list", "fc", "nowhere.py:f"], ["cell model=nowhere.py_f", "there is no file nowhere.py"]),
    (["--pruner-list", "rand", "--weights", "nowhere.pt"], ["nowhere.pt"]),
    (["--seed-list", "1", "--no-save"], ["--no-save"]),
])  # fmt: skip
def test_impossible_cells_are_named_before_the_first_one_starts(words, parts, refused):
    refused([w for w in BASE if w not in ("--model", "fc")] + words, *parts)


def test_ablations(command):
    done = command(*BASE, "--pruner-list", "rand", "snip", "--compression", "0.5", "--ablate", "none", "shuffle", "reinit", "invert", "--seed-list", "1", "2")
    assert done.status == 0 and "Ablations" in done.out
    frame, deltas = table(), pd.read_csv(GRID / "ablation.csv")
    assert len(frame) == 2 + 16 and deltas["n"].tolist() == [2] * 8
    mean = frame.groupby(["pruner", "ablate"])["top1_last"].mean()
    for row in deltas.itertuples():
        assert row.top1_last == pytest.approx(mean[row.pruner, row.ablate])
        assert row.delta == pytest.approx(mean[row.pruner, row.ablate] - mean[row.pruner, "none"])
    options = json.loads((GRID / "pruner=snip,ablate=reinit,seed=2" / "args.json").read_text())
    assert options["reinitialize"] and not options["shuffle"] and not options["invert"]


def test_grids_of_prune_need_no_data(command):
    done = command("--experiment", "prune", "--dataset", "cifar10", "--data-dir", "nowhere", "--no-download", "--model-list", "fc", "conv",
                   "--pruner-list", "mag", "rand", "--density-list", "0.1", "0.01", "--expid", "g")  # fmt: skip
    frame = pd.read_csv("Results/data/prune/g/grid.csv")
    assert done.status == 0 and len(frame) == 8 and set(frame["density"]) == {0.1, 0.01} and (abs(frame["density_kept"] / frame["density"] - 1) < 2e-4).all()


def test_dry_run_of_a_single_run(command, tmp_path):
    done = command(*BASE, "--dry-run")
    assert done.status == 0 and "singleshot/g: pending" in done.out and not list(tmp_path.iterdir())
