"""`regrow-layers`, `regrow-bench` and `inspect` through the command line."""

from __future__ import annotations

import argparse
import json
import pickle
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from killed import killed
from malicious import Malicious
from trained import trained

from Models.checkpoint_reader import OURS, PLAIN, TORCH, read_checkpoint, summarised
from Utils.regrowth.layer_study import correlations, verdict

RUN = Path("Results/data/singleshot/s")
WORDS = ["--dataset", "synthetic:1x8x8:3:200", "--model", "conv", "--pruner", "mag", "--pre-epochs", "1", "--post-epochs", "1",
         "--sparsity", "0.9", "--val-fraction", "0.1", "--expid", "s"]  # fmt: skip


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return trained(tmp_path_factory, WORDS)


@pytest.fixture
def sparse(command, once, tmp_path):
    """The folder of a pruned run that was trained densely before."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return RUN


def test_one_layer_at_a_time_goes_on_after_a_kill(command, sparse):
    words = ["--experiment", "regrow-layers", "--run", str(sparse), "--regrow-fraction", "0.01", "--regrow-finetune-epochs", "1",
             "--checkpoint-every", "1", "--expid", "l"]  # fmt: skip
    killed(words, 2)
    done = command(*words)
    assert done.status == 0, done.err
    folder = Path("Results/data/regrow-layers/l")
    table = pd.read_csv(folder / "regrow-layers.csv", dtype={"layer": str})
    assert table["layer"].tolist() == ["0", "2", "5"] and (table["regrown"] == table["capacity"].clip(upper=156)).all()
    assert table["equal"].tolist() == (table["regrown"] == 156).tolist()
    summary = json.loads((folder / "summary.json").read_text())
    assert table["final_improvement"].tolist() == pytest.approx((table["test_top1"] - summary["test_top1_control"]).tolist())
    assert {"pearson", "spearman_p"} <= set(pd.read_csv(folder / "regrow-correlations.csv"))
    assert (folder / "regrow-layers.png").exists() and "Already done" in command(*words).out
    whole = command(*words[:-2], "--result-dir", "whole", "--expid", "l")
    assert whole.status == 0 and pd.read_csv("whole/regrow-layers/l/regrow-layers.csv", dtype={"layer": str}).equals(table)


def test_correlations_by_hand():
    table = pd.DataFrame({"ssim": [0.1, 0.2, 0.3, 0.4, None, 0.9], "final_improvement": [4.0, 3.0, 2.0, 1.0, 9.0, 9.0],
                          "immediate_improvement": [0.0] * 6, "equal": [True] * 5 + [False]})  # fmt: skip
    found = correlations(table).set_index(["improvement", "layers"])
    equal = found.loc[("final", "equal budget")]
    assert equal["n"] == 4 and equal["pearson"] == pytest.approx(-1) and equal["spearman"] == pytest.approx(-1)
    assert found.loc[("final", "all"), "n"] == 5 and found.loc[("final", "all"), "pearson"] > 0
    assert found.loc[("immediate", "all")].isna()["pearson"]
    assert "the lower, the larger" in verdict(correlations(table))


def test_both_methods_are_timed_phase_by_phase(command, sparse):
    words = ["--experiment", "regrow-bench", "--run", sparse, "--regrow-repeats", "2", "--expid", "b"]
    done = command(*words)
    assert done.status == 0, done.err
    folder = Path("Results/data/regrow-bench/b")
    table = pd.read_csv(folder / "regrow-bench.csv")
    phases = ["preprocessing", "selection", "mask update", "mini fine-tuning", "total"]
    assert table["phase"].tolist() == phases * 2 and table["method"].tolist() == ["reference"] * 5 + ["saliency"] * 5
    for _, part in table.groupby("method"):
        assert part["mean"].iloc[:-1].sum() == pytest.approx(part["mean"].iloc[-1]) and (part["mean"] > 0).all()
    report = json.loads((folder / "regrow-bench.json").read_text())
    assert report["budget"] == 156 and report["repeats"] == 2 and "device" in report and "156 weights" in done.out
    assert len(pd.read_csv(folder / "regrow-bench-runs.csv")) == 2 * (7 + 5) and (folder / "regrow-bench.pdf").exists()
    assert "Already done" in command(*words).out


def test_a_bench_needs_a_dense_network(command, sparse, refused):
    (sparse / "dense.pt").rename("dense.pt")
    refused(["--experiment", "regrow-bench", "--run", sparse], "regrow-bench", "--regrow-dense")


def test_inspecting_a_run_of_ours(command, sparse):
    done = command("--experiment", "inspect", "--checkpoint", sparse / "model.pt")
    assert done.status == 0 and "weights with masks" in done.out and "Parameter Sparsity: 1565/15648 (0.1000)" in done.out
    assert "capacity 14083" in done.out and "0.bias" in done.out
    dense = read_checkpoint(sparse / "dense.pt")
    assert dense.form == OURS and all(bool(m.all()) for m in dense.masks.values())


def test_forms_of_checkpoints(tmp_path):
    weight, mask = torch.arange(6.0).view(2, 3), torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    torch.save({"state_dict": {"a.weight_orig": weight, "a.weight_mask": mask, "a.bias": torch.ones(2)}, "epoch": 7}, tmp_path / "t.pt")
    found = read_checkpoint(tmp_path / "t.pt")
    assert found.form == TORCH and found.beside == {"epoch": 7} and torch.equal(found.tensors["a.weight"], weight * mask)
    assert torch.equal(found.originals["a.weight"], weight) and torch.equal(found.masks["a.weight"], mask)
    torch.save({"_orig_mod.a.weight": weight}, tmp_path / "p.pt")
    assert read_checkpoint(tmp_path / "p.pt").form == PLAIN and list(read_checkpoint(tmp_path / "p.pt").tensors) == ["a.weight"]
    assert summarised({"a": 3, "b": 4}) == "2 entries (a, b), sum 7" and summarised(weight) == "tensor 2x3 float32"
    assert summarised([1, 2]) == "2 entries" and summarised(0.1234567891) == "0.123457"


def test_all_readers_read_a_foreign_checkpoint_alike(command, refused):
    """Half precision, a wrapper, a prefix, an object beside the weights; the masks are buffers, or zeros that remain."""
    Path("net.py").write_text("from torch import nn\ndef net(shape, classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n")
    weight, mask = torch.arange(1.0, 193).view(3, 64), (torch.arange(192).view(3, 64) % 4 == 0).float()
    rest = {"model.1.bias": torch.zeros(3)}
    forms = {
        "m.pt": rest | {"model.1.weight_orig": weight.half(), "model.1.weight_mask": mask},
        "z.pt": rest | {"model.1.weight": (weight * mask).half().to_sparse()},
    }
    torch.save({"1.weight": mask.int()}, "alone.pt")
    words = ["--dataset", "synthetic:1x8x8:3:60", "--model", "net.py:net", "--no-save"]
    regrow = ["--experiment", "regrow", *words, "--regrow-fraction", "0.1", "--regrow-finetune-epochs", "0", "--regrow-score-batches", "1"]
    for name, state in forms.items():
        torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, name)
        done = command("--experiment", "inspect", "--checkpoint", name)
        assert "Parameter Sparsity: 48/192 (0.2500)" in done.out and "args: argparse.Namespace(lr=0.1)" in done.out
    prune = ["--experiment", "prune", *words, "--pruner", "rand", "--sparsity", "0.9"]
    for more in ([*prune, "--weights", "z.pt"], [*regrow, "--checkpoint", "z.pt"],
                 [*regrow, "--checkpoint", "m.pt", "--regrow-reference", "z.pt", "--regrow-dense", "z.pt"]):  # fmt: skip
        done = command(*more)
        assert done.status == 0 and "NOTE: z.pt: skipped args (argparse.Namespace); nothing of it was run" in done.out, done
    for flags in (["--weights"], [*regrow[:2], *regrow[7:], "--checkpoint"], [*regrow[:2], *regrow[7:], "--checkpoint", "m.pt", "--regrow-dense"]):
        refused([*flags, "alone.pt", *words], "alone.pt holds masks without weights")
    dense = [*regrow, "--checkpoint", "m.pt", "--regrow-reference", "d.pt"]
    torch.save({"1.weight": weight, "1.bias": torch.zeros(3)}, "d.pt")
    refused(dense, "--regrow-reference d.pt is dense")


@pytest.mark.parametrize(("write", "part"), [
    (lambda f: f.write_bytes(pickle.dumps(Malicious(Path.touch, Path("ran")))), "nothing in it was run"),
    (lambda f: torch.save({"state_dict": {}, "x": Malicious(Path.touch, Path("ran"))}, f), "nothing in it was run"),
    (lambda f: f.write_bytes(b"no checkpoint"), "nothing in it was run"),
    (lambda f: torch.save(torch.ones(3), f), "a Tensor"),
    (lambda f: torch.save({"a": torch.ones(3), "a_mask": torch.ones(2)}, f), "a_mask has shape [2]"),
    (lambda f: torch.save({"a": torch.ones(3), "a_mask": torch.full((3,), 0.5)}, f), "other values than 0 and 1"),
    (lambda f: None, "no such file"),
])  # fmt: skip
def test_what_cannot_be_inspected(write, part, tmp_path, refused):
    file = tmp_path / "c.pt"
    write(file)
    refused(["--experiment", "inspect", "--checkpoint", file], "c.pt", part)
    assert not Path("ran").exists()


def test_inspect_needs_a_file(refused):
    refused(["--experiment", "inspect"], "--checkpoint FILE")
    refused(["--experiment", "inspect", "--checkpoint", "x", "--gpu", "0"], "--gpu", "inspect")
