"""`--compact` on the command line: a small network is trained, and the results are those of the original layers."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from killed import killed

from Utils.base.tensor_files import unseal
from Utils.runs import outputs
from Utils.runs.manifest import OwnFiles

MODEL = ["--dataset", "synthetic:3x8x8:4:60", "--model", "resnet20", "--density", "0.05", "--train-batch-size", "20", "--post-epochs", "2"]
BASE = [*MODEL, "--pruner", "synflow", "--prune-epochs", "20"]
LEVELS = ["--experiment", "multishot", "--level-list", "2", "--pre-epochs", "2", "--expid", "m"]


def folder_of(name, experiment="singleshot"):
    return Path("Results/data", experiment, name)


def read(folder, name="summary.json"):
    return json.loads((folder / name).read_text())


def state(folder, name="model.pt"):
    return torch.load(folder / name, weights_only=True)


def test_the_results_are_those_of_the_original_layers(command):
    done = command(*BASE, "--expid", "small", "--compact")
    assert done.status == 0 and "computing the same" in done.out and "without dead units" in done.out
    assert command(*BASE, "--expid", "whole").status == 0
    small, whole = folder_of("small"), folder_of("whole")
    a, b = read(small), read(whole)
    for key in ("params_kept", "params_total", "flops_kept", "macs_kept", "macs_effective", "density", "effective_density", "collapsed"):
        assert a[key] == b[key], key
    tables = [pd.read_csv(f / "compression.csv") for f in (small, whole)]
    pd.testing.assert_frame_equal(*tables)
    assert a["params_compact"] < a["params_total"] and a["macs_compact"] < a["macs_total"] and "params_compact" not in b
    assert (a["inference"]["network"], b["inference"]["network"]) == ("compact", "masked")
    losses = [pd.read_csv(f / "post-train.csv")["train_loss"].tolist()[1:] for f in (small, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)

    ours, theirs = state(small), state(whole)
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    assert all(torch.equal(ours[n], t) for n, t in theirs.items() if n.endswith("_mask"))
    assert all(torch.equal(t * ours[f"{n}_mask"], t) for n, t in ours.items() if f"{n}_mask" in ours)
    compact = state(small, "model-compact.pt")
    assert sum(t.numel() for n, t in compact.items() if n.endswith(("weight", "bias"))) == a["params_compact"]
    assert compact["conv.weight"].shape[1] == 3 and compact["fc.weight"].shape[0] == 4
    assert not (whole / "model-compact.pt").exists()


def test_a_saved_run_is_what_it_was(finished, command):
    finished(*BASE, "--expid", "small", "--compact")
    folder = folder_of("small")
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    done = command("--experiment", "evaluate", "--run", folder)
    assert done.status == 0 and f"{read(folder)['top1_last']:.2f}" in done.out
    assert command("--experiment", "time", "--run", folder).status == 0
    assert read(folder, "time.json")["network"] == "compact"
    again = command(*BASE, "--expid", "small", "--compact")
    assert again.status == 0 and "Already done" in again.out
    after = {f.name: f.read_bytes() for f in folder.iterdir() if f.name != "time.json"}
    assert OwnFiles(folder).names == before.keys() - {"manifest.json"} | {"time.json"}
    assert after | {"manifest.json": before["manifest.json"]} == before
    other = command(*BASE, "--expid", "small")
    assert other.status == 2 and "compact" in other.err


@pytest.mark.parametrize("more", [[], ["--rewind-epoch", "1"], pytest.param(["--no-rewind"], marks=pytest.mark.long)])
def test_every_level_is_compacted_by_itself(command, more):
    folders = []
    for name, flag in (("small", ["--compact"]), ("whole", [])):
        assert command(*BASE, *LEVELS, *more, *flag, "--expid", name).status == 0
        folders.append(folder_of(name, "multishot") / "level=2")
    small, whole = folders
    assert all(torch.equal(state(small, "masks-level-1.pt")[n], t) for n, t in state(whole, "masks-level-1.pt").items())
    pre = [pd.read_csv(f / "pre-train.csv")["train_loss"].dropna().tolist() for f in folders]
    assert pre[0] == pytest.approx(pre[1], rel=1e-2) and len(pre[0]) == (3 if "--rewind-epoch" in more else 4)
    a, b = read(small), read(whole)
    assert a["params_kept"] == b["params_kept"] and a["params_compact"] < b["params_total"]
    assert a["top1_last"] == pytest.approx(b["top1_last"], abs=10)


@pytest.mark.parametrize(("words", "epochs"), [([], 1), (LEVELS, 4)])
def test_a_killed_run_goes_on(command, words, epochs):
    lines = [*BASE, *words, "--compact", "--checkpoint-every", "1"]
    assert command(*lines, "--result-dir", "whole", "--expid", "m").status == 0
    killed([*lines, "--result-dir", "half", "--expid", "m"], epochs)
    done = command(*lines, "--result-dir", "half", "--expid", "m")
    assert done.status == 0
    whole, half = (max(Path(f).rglob("model.pt")).parent for f in ("whole", "half"))
    for name in ("model.pt", "model-compact.pt", "optimizer.pt"):
        assert str(state(whole, name)) == str(state(half, name)), name
    ours, theirs = (pd.read_csv(f / "post-train.csv").drop(columns="seconds") for f in (whole, half))
    pd.testing.assert_frame_equal(ours, theirs)


def test_a_resumed_run_counts_the_compaction_once(command, monkeypatch):
    words = ["--dataset", "synthetic:1x8x8:3:60", "--pruner", "mag", "--density", "0.1", "--post-epochs", "2", "--compact", "--checkpoint-every", "1",
             "--expid", "m"]  # fmt: skip

    def killed_here(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "inference_times", killed_here)
        assert command(*words).status == 130
    before = unseal(folder_of("m") / "checkpoint.bin")["clock"]["seconds"]["prune"]
    done = command(*words)
    assert "Going on after epoch 1 of 2" in done.out and read(folder_of("m"))["seconds"]["prune"] == before


def test_a_constant_network_fails(command):
    done = command(*MODEL, "--expid", "c", "--compact", "--pruner", "rand", "--density", "0.002")
    assert done.status == 1 and "no path is left from the input to the output" in done.err and "Traceback" not in done.err
    assert read(folder_of("c"))["status"] == "failed"


def test_on_a_grid(command):
    words = ["--pruner-list", "synflow", "rand", "--seed-list", "1", "2", "--expid", "g", "--compact"]
    assert command(*MODEL, *words, "--prune-epochs", "20").status == 0
    grid = pd.read_csv("Results/data/singleshot/g/grid.csv")
    pruned = grid[grid["pruner"] != "dense"]
    assert (pruned["params_compact"] <= pruned["params_total"]).all() and len(pruned) == 4
    assert (grid["effective_density"] <= grid["density"]).all() and (grid["macs_effective"] <= grid["macs_kept"]).all()
