"""`--experiment regrow` through the command line: counts, controls, files, resumption, foreign checkpoints, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from killed import killed
from torch import nn
from torch.nn.utils import prune
from trained import trained

from Utils.data.dataset import Dataset

EQUAL, PLAIN = "plain pruning, equal epochs", "plain pruning, fine-tuned only"
DATA = ["--dataset", "synthetic:1x8x8:3:200", "--model", "conv"]
BASE = [*DATA, "--pruner", "mag", "--post-epochs", "1", "--sparsity", "0.9", "--val-fraction", "0.1"]
QUICK = ["--regrow-finetune-epochs", "1", "--regrow-episodes", "3"]
TOTAL = 15648  # prunable weights of `conv` for these images


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return trained(tmp_path_factory, [*BASE, "--pre-epochs", "1", "--expid", "s"])


@pytest.fixture
def sparse(command, once, tmp_path):
    """The folder of a pruned run that was trained densely before."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return Path("Results/data/singleshot/s")


def regrow(command, *words):
    done = command("--experiment", "regrow", *QUICK, *words)
    assert done.status == 0, done.err
    return done


def folder(name):
    return Path("Results/data/regrow", name)


def same_states(one, other, name="model.pt"):
    a, b = (torch.load(f / name, weights_only=True) for f in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_budgets_are_exact_and_the_rivals_are_fair(command, sparse):
    opened = []
    whole = Dataset.test_batches
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dataset, "test_batches", lambda *a, **k: opened.append(1) or whole(*a, **k))
        done = regrow(command, "--run", sparse, "--regrow-to", "0.8", "--regrow-allocation", "ssim", "--expid", "r")
    assert len(opened) == 5  # each network once, at the end
    rows = pd.read_csv(folder("r") / "regrow.csv").set_index("network")
    assert rows["kept"].to_dict() == {"start": 1565, "control": 1565, PLAIN: 3130, EQUAL: 3130, "regrown": 3130}
    assert rows["epochs"].to_dict() == {"start": 0, "control": 1, PLAIN: 1, EQUAL: 1, "regrown": 1}
    assert rows["total_epochs"].to_dict() == {"start": 2, "control": 3, PLAIN: 2, EQUAL: 3, "regrown": 3} and not rows["search_epochs"].any()
    report = json.loads((folder("r") / "regrow.json").read_text())
    assert report["budget_asked"] == report["budget_spent"] == 1565 == sum(report["steps"][0]["allocation"].values())
    layers = pd.read_csv(folder("r") / "regrow-layers.csv", dtype={"layer": str})
    assert layers["allocated"].sum() == 1565 and layers["ssim"].notna().tolist() == [True, True, False]
    assert (layers["allocated"] <= layers["capacity"]).all()
    summary = json.loads((folder("r") / "summary.json").read_text())
    assert summary["top1_last"] == rows.loc["regrown", "test_top1"] and summary["top1_control"] == rows.loc["control", "test_top1"]
    assert summary["density"] == pytest.approx(0.2, abs=1e-4) and summary["options"]["model"] == "conv"

    before, after = (torch.load(f / "model.pt", weights_only=True) for f in (sparse, folder("r")))
    saved = torch.load(folder("r") / "regrow_masks.pt", weights_only=True)
    for name in ("0", "2", "5"):
        old, new = before[f"{name}.weight_mask"], after[f"{name}.weight_mask"]
        gained = ((new == 1) & (old == 0)).view(-1).nonzero().view(-1)
        assert not ((old == 1) & (new == 0)).any() and torch.equal(saved[f"{name}.weight_mask"].float(), new)
        assert torch.equal(saved.get(f"{name}.regrown.0", torch.tensor([], dtype=torch.int64)), gained)
        assert not after[f"{name}.weight"][new == 0].any()
    assert "Regrowing 1565 of 15648" in done.out and "mag of the dense network" in done.out

    again = regrow(command, "--run", sparse, "--regrow-to", "0.8", "--regrow-allocation", "ssim", "--expid", "r")
    assert "Already done" in again.out and done.out[done.out.index("Layers:") :].splitlines()[:9] == again.out[again.out.index("Layers:") :].splitlines()[:9]
    tested = command("--experiment", "evaluate", "--run", folder("r"))
    assert tested.status == 0 and f"top-1 {summary['top1_last']:.2f} %" in tested.out.splitlines()[0]


@pytest.mark.parametrize("allocation", ["uniform", "greedy", "rl"])
def test_allocations_and_selections(command, sparse, allocation):
    selection = {"uniform": "random", "greedy": "reference", "rl": "gradient"}[allocation]
    init = {"uniform": "kaiming", "greedy": "reference", "rl": "original"}[allocation]
    regrow(command, "--run", sparse, "--regrow-fraction", "0.1", "--regrow-allocation", allocation, "--regrow-selection", selection,
           "--regrow-init", init, "--regrow-steps", "2", "--regrow-bn-recalibrate", "--expid", "r")  # fmt: skip
    rows = pd.read_csv(folder("r") / "regrow.csv").set_index("network")
    assert rows.loc["regrown", "kept"] == 1565 + 1564 and rows.loc["control", "epochs"] == rows.loc["regrown", "epochs"] == 2
    layers = pd.read_csv(folder("r") / "regrow-layers.csv", dtype={"layer": str})
    assert layers.groupby("step")["allocated"].sum().tolist() == [782, 782]
    assert layers.query("step == 2")["capacity"].tolist() == (layers.query("step == 1")["capacity"] - layers.query("step == 1")["allocated"]).tolist()
    if allocation == "rl":
        episodes = pd.read_csv(folder("r") / "regrow-search.csv")
        assert len(episodes) == 6 and (episodes[["0", "2", "5"]].sum(axis=1) == 782).all()


SEARCH = ["--regrow-to", "0.8", "--regrow-allocation", "rl", "--regrow-steps", "2", "--checkpoint-every", "1", "--val-fraction", "0.2"]


def test_a_killed_search_goes_on_bit_for_bit(command, sparse):
    regrow(command, "--run", sparse, *SEARCH, "--result-dir", "elsewhere", "--expid", "r")
    for epochs in (2, 2, 3):  # in the search, after it, in the second step
        killed(["--experiment", "regrow", *QUICK, "--run", str(sparse), *SEARCH, "--expid", "r"], epochs)
        assert (folder("r") / "checkpoint.bin").exists()
    regrow(command, "--run", sparse, *SEARCH, "--expid", "r")
    whole = Path("elsewhere/regrow/r")
    assert same_states(whole, folder("r")) and same_states(whole, folder("r"), "regrow_masks.pt")
    for name in ("regrow.csv", "regrow-search.csv", "regrow-layers.csv"):
        assert (whole / name).read_bytes() == (folder("r") / name).read_bytes()


def test_replay_regrows_the_same_weights(command, sparse):
    regrow(command, "--run", sparse, "--regrow-to", "0.8", "--expid", "r", "--regrow-steps", "2")
    regrow(command, "--run", sparse, "--regrow-replay", folder("r"), "--expid", "again")
    assert same_states(folder("r"), folder("again")) and same_states(folder("r"), folder("again"), "regrow_masks.pt")
    report = json.loads((folder("again") / "regrow.json").read_text())
    assert report["budget_spent"] == 1565 and report["replay"].endswith("regrow_masks.pt")


def foreign(seed=0, amount=0.9):
    """A checkpoint as `torch.nn.utils.prune` leaves it, of the network that `--model net.py:net` makes."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    for module in (net[0], net[4]):
        prune.l1_unstructured(module, "weight", amount)
    return net


CODE = """
from torch import nn
def net(input_shape, num_classes):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, num_classes))
"""


def test_a_foreign_checkpoint_is_regrown_and_inspected(command, tmp_path):
    net = foreign()
    Path("net.py").write_text(CODE)
    torch.save({"net": {f"module.{k}": v for k, v in net.state_dict().items()}, "acc": 91.5, "epoch": 3}, "foreign.pth")
    shown = command("--experiment", "inspect", "--checkpoint", "foreign.pth")
    assert shown.status == 0 and "torch.nn.utils.prune" in shown.out and "acc: 91.5" in shown.out
    assert "Parameter Sparsity: 81/804 (0.1007)" in shown.out and "4.weight" in shown.out, shown.out
    words = ["--checkpoint", "foreign.pth", "--dataset", "synthetic:1x8x8:3:200", "--model", "net.py:net", "--regrow-to", "0.5"]
    done = regrow(command, *words, "--regrow-init", "original", "--regrow-selection", "magnitude", "--regrow-finetune-epochs", "0", "--expid", "f")
    after = torch.load(folder("f") / "model.pt", weights_only=True)
    for name in ("0", "4"):
        mask = after[f"{name}.weight_mask"]
        assert torch.equal(after[f"{name}.weight"], net.state_dict()[f"{name}.weight_orig"] * mask)  # `original` is weight_orig
        assert (mask >= net.state_dict()[f"{name}.weight_mask"]).all()
    assert sum(int(after[f"{n}.weight_mask"].sum()) for n in ("0", "4")) == 402 and "mag of the stored values" in done.out
    done = regrow(command, *words, "--expid", "g")
    assert "saliency without a dense network" in done.out


def test_a_regrown_network_is_a_run_like_any_other(command, sparse):
    regrow(command, "--run", sparse, "--regrow-to", "0.85", "--expid", "r", "--regrow-finetune-epochs", "0")
    done = regrow(command, "--run", folder("r"), "--regrow-to", "0.8", "--expid", "again", "--regrow-finetune-epochs", "0",
                  "--regrow-reference", sparse, "--regrow-selection", "reference", "--regrow-init", "reference")  # fmt: skip
    assert "mag of the dense network" in done.out  # the dense network of the first run
    report = json.loads((folder("again") / "regrow.json").read_text())
    assert report["dense"].endswith("s/dense.pt") and report["reference"].endswith("s/model.pt")
    for experiment in ("evaluate", "histogram"):
        assert command("--experiment", experiment, "--run", folder("r")).status == 0


def test_seeds_and_allocations_make_a_grid(command, sparse):
    done = regrow(command, "--run", sparse, "--regrow-to", "0.85", "--regrow-allocation-list", "uniform", "proportional", "--seed-list", "1", "2",
                  "--regrow-selection", "random", "--expid", "g")  # fmt: skip
    grid = pd.read_csv(folder("g") / "grid.csv")
    assert grid["status"].tolist() == ["done"] * 4 and set(grid["regrow_allocation"]) == {"uniform", "proportional"}
    assert {"top1_last", "top1_control", "top1_plain"} <= set(grid) and "over seeds" in done.out
    assert len(list(Path("Results/data/regrow-rivals").iterdir())) == 2  # one for each seed, whatever is allocated
    assert grid.groupby("seed")["top1_control"].nunique().tolist() == grid.groupby("seed")["top1_plain"].nunique().tolist() == [1, 1]
    assert "4 cells, 4 done" in regrow(command, "--run", sparse, "--regrow-to", "0.85", "--regrow-allocation-list", "uniform", "proportional",
                                       "--seed-list", "1", "2", "--regrow-selection", "random", "--expid", "g", "--dry-run").out  # fmt: skip


def test_an_impossible_cell_is_refused_before_any_runs(command, refused):
    assert command("--dataset", "synthetic:1x8x8:3:60", "--pruner", "rand", "--sparsity", "0.9", "--pre-epochs", "1", "--val-fraction", "0.1",
                   "--expid", "flat").status == 0  # fmt: skip
    words = ["--experiment", "regrow", *QUICK, "--run", "Results/data/singleshot/flat", "--regrow-to", "0.5"]
    refused([*words, "--regrow-allocation-list", "uniform", "ssim"], "cell regrow_allocation=ssim", "no layer of --model fc has maps of 3 x 3")
    refused([*words, "--regrow-to", "0.95", "--seed-list", "1", "2"], "cell seed=1", "regrows no weight")
    seeds = [*words[:-2], "--seed-list", "1", "2"]
    refused([*seeds, "--regrow-fraction", "0.0001", "--regrow-steps", "50"], "cell seed=1", "--regrow-steps 50: there are 4 weights")
    torch.save({"99.regrown.0": torch.tensor([1])}, "wrong.pt")
    refused([*seeds, "--regrow-replay", "wrong.pt"], "cell seed=1", "regrows 99, which is no layer")


@pytest.mark.parametrize(("words", "parts"), [
    ([], ["--run FOLDER or --checkpoint"]),
    (["--run", "a", "--checkpoint", "b"], ["--run FOLDER or --checkpoint"]),
    (["--run", "nowhere", "--regrow-to", "0.5"], ["nowhere", "args.json"]),
    (["--run", "a", "b", "--regrow-to", "0.5"], ["one --run", "not 2"]),
    (["--checkpoint", "nowhere.pt", "--regrow-to", "0.5"], ["nowhere.pt"]),
    (["--checkpoint", "c.pt"], ["--regrow-to", "--regrow-fraction"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--regrow-fraction", "0.1"], ["exclude each other"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--val-fraction", "0"], ["--val-fraction 0"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--regrow-allocation", "ssim"], ["ssim", "--regrow-dense"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--regrow-selection", "reference"], ["--regrow-selection", "--regrow-reference"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--regrow-init", "reference"], ["--regrow-init", "--regrow-reference"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--regrow-dense", "x.pt"], ["--regrow-dense x.pt", "no such file"]),
    (["--checkpoint", "c.pt", "--regrow-replay", "x.pt"], ["--regrow-replay x.pt", "no such file"]),
    (["--checkpoint", "c.pt", "--regrow-replay", "x.pt", "--regrow-to", "0.5"], ["--regrow-replay", "--regrow-to"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--weights", "w.pt"], ["--weights"]),
    (["--checkpoint", "c.pt", "--regrow-to", "1"], ["--regrow-to", "below 1"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--regrow-allocation", "magic"], ["magic", "greedy"]),
    (["--checkpoint", "c.pt", "--regrow-to", "0.5", "--patience", "3"], ["--patience", "singleshot"]),
])  # fmt: skip
def test_refusals_without_a_network(words, parts, refused):
    refused(["--experiment", "regrow", *words], *parts)


def test_refusals_of_a_network(command, sparse, refused):
    words = ["--experiment", "regrow", *QUICK, "--run", sparse]
    refused([*words, "--regrow-to", "0.95"], "regrows no weight", "1565 of 15648")
    refused([*words, "--regrow-fraction", "1"], "asks for 15648", "14083 can be regrown")
    refused([*words, "--regrow-to", "0.8", "--regrow-layers", "5", "7"], "--regrow-layers 7", "0, 2, 5")
    refused([*words, "--regrow-to", "0.8", "--regrow-layers", "5", "--regrow-allocation", "greedy"], "greedy", "3 x 3")
    refused([*words, "--regrow-to", "0.8", "--model", "fc"], "--model fc", "its network is conv")
    refused([*words, "--regrow-fraction", "0.0001", "--regrow-steps", "5"], "--regrow-steps 5", "1 weights")
    torch.save({"0.weight": torch.zeros(32, 1, 3, 3)}, "plain.pt")
    refused([*words, "--regrow-to", "0.8", "--regrow-reference", "plain.pt"], "--regrow-reference plain.pt", "mask")
    torch.save({"0.regrown.0": torch.tensor([10**6])}, "wrong.pt")
    refused([*words, "--regrow-replay", "wrong.pt"], "wrong.pt", "288 weights")
    torch.save({"state_dict": {"module.0.regrown.0": torch.tensor([10**6])}}, "wrong.pt")
    refused([*words, "--regrow-replay", "wrong.pt"], "wrong.pt", "288 weights")
    torch.save({"9.regrown.0": torch.tensor([1])}, "wrong.pt")
    refused([*words, "--regrow-replay", "wrong.pt"], "wrong.pt", "9")
    regrow(command, "--run", sparse, "--regrow-to", "0.8", "--expid", "r", "--regrow-finetune-epochs", "0")
    refused([*words, "--regrow-to", "0.7", "--expid", "r"], "another run", "regrow_to")


def test_the_split_is_that_of_the_run(command, sparse):
    from Utils.options.command_line import parse

    options = parse(["--experiment", "regrow", "--run", str(sparse), "--regrow-to", "0.5", "--seed", "7"])
    assert options.split_seed == 1 and options.val_fraction == 0.1 and options.regrow_dense.endswith("dense.pt")
    command(*BASE[:-2], "--pre-epochs", "1", "--expid", "seen")
    done = regrow(command, "--run", "Results/data/singleshot/seen", "--regrow-to", "0.5", "--regrow-finetune-epochs", "0")
    assert "it has seen validation images" in done.out
