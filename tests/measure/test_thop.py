"""thop's count beside ours: by hand, the reasons of differences, and a network that stays as it was."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from conftest import PROJECT, snapshot
from torch import nn

from Models.masking import add_masks
from Utils.base.csv_files import read_named
from Utils.measure import thop_count
from Utils.measure.counting import compression_table
from Utils.measure.thop_count import ThopCount, count_by_thop, differences, with_thop
from Utils.options.command_line import parse
from Utils.runs.places import run_name
from Utils.runs.printing import print_thop

TINY = ["--experiment", "prune", "--dataset", "synthetic:1x8x8:3:60", "--compression", "1"]


def table_of(model, shape):
    prunables = add_masks(model)
    return compression_table(model, prunables, [p.mask for p in prunables], shape)


def batch_norm_net():
    """One image of [2, 4, 4]: 864 multiply-adds of the convolution, 48 numbers normalised twice and averaged, 30 of the last layer."""
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3, affine=False), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(3, 10), nn.Dropout(0.5), nn.Softmax(1))  # fmt: skip


def test_a_network_with_batch_norm_by_hand():
    """A norm with scale and shift counts 4 x 48, one without 2 x 48; the average 48 + 3; the softmax 10 + 9 + 10."""
    model = batch_norm_net()
    count = count_by_thop(model, (2, 4, 4))
    assert count == ThopCount(864 + 192 + 96 + 51 + 30 + 29, {"": 0, "0": 864, "1": 192, "2": 96, "3": 51, "4": 0, "5": 30, "6": 0, "7": 29}, 0)
    table = with_thop(table_of(model, (2, 4, 4)), count)
    rows = table.set_index(["module", "param"])
    assert rows["macs_thop"].to_dict() == {("0", "weight"): 864, ("0", "bias"): 0, ("1", "weight"): 192, ("1", "bias"): 0,
                                           ("5", "weight"): 30, ("5", "bias"): 0}  # fmt: skip
    found = {row["module"]: (row["class"], row["macs"], row["macs_thop"], row["reason"].split(",")[0]) for row in differences(table, model, count)}
    assert found == {
        "1": ("BatchNorm2d", 0, 192, "thop counts the arithmetic of a norm"), "2": ("BatchNorm2d", 0, 96, "thop counts the arithmetic of a norm"),
        "3": ("AdaptiveAvgPool2d", 0, 51, "thop counts the additions and divisions of an average"),
        "7": ("Softmax", 0, 29, "thop counts the exponentials"),
    }  # fmt: skip


def test_a_single_layer_is_its_own_root():
    assert count_by_thop(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (1, 2, 2)).modules == {"": 0, "0": 0, "1": 12}
    assert count_by_thop(nn.Conv2d(2, 3, 1), (2, 4, 4)) == ThopCount(96, {"": 96}, 0)


def test_the_network_stays_as_it_was():
    model = batch_norm_net().train()
    add_masks(model)
    model[2].eval()
    torch.manual_seed(5)
    before, random, own = snapshot(model), torch.get_rng_state(), [set(vars(m)) for m in model.modules()]
    count_by_thop(model, (2, 4, 4))
    after = snapshot(model)
    assert str(before) == str(after) and torch.equal(random, torch.get_rng_state())
    assert [set(vars(m)) for m in model.modules()] == own and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not [key for key in model.state_dict() if "total" in key] and model.training and not model[2].training


def test_a_network_that_needs_values_is_counted_on_the_cpu():
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.table = nn.Linear(4, 2), torch.ones(4)

        def forward(self, x):
            return self.layer(x.flatten(1) + self.table) * (2 if float(self.table.sum()) > 0 else 1)

    model = Fixed()
    weight = model.layer.weight.clone()
    assert count_by_thop(model, (1, 2, 2)).modules["layer"] == 8 and torch.equal(model.layer.weight, weight)


class Several(nn.Module):
    """Attention, two layers that share a weight, and a layer whose weight a function uses."""

    def __init__(self):
        super().__init__()
        self.heads, self.one, self.two, self.bare, self.down = nn.MultiheadAttention(4, 1), *(nn.Linear(4, 4, False) for _ in range(3)), nn.ConvTranspose1d(4, 2, 2, 2)
        self.two.weight = self.one.weight

    def forward(self, x):
        x = x.flatten(2).permute(2, 0, 1)
        x = self.two(self.one(self.heads(x, x, x, need_weights=False)[0]))
        return self.down((x @ self.bare.weight).permute(1, 2, 0)).mean(2)


def test_reasons():
    """3 places of 4 numbers: 3 x (3 x 4 + 4) x 4 = 192 for attention's projections; 2 x 48 for the shared weight, whose first name is `one`;
    48 for the weight in a function; 3 places x 16 for the transposed convolution."""
    model = Several()
    table = table_of(model, (4, 1, 3))
    assert table.groupby("module")["macs"].sum().to_dict() == {"heads": 144, "heads.out_proj": 48, "one": 96, "bare": 48, "down": 48}
    count = ThopCount(192 + 81 + 48 + 48 + 96 + 48, {"heads": 192 + 81, "heads.out_proj": 0, "one": 48, "two": 48, "bare": 0, "down": 96}, 48)
    found = {row["module"]: (row["macs"], row["macs_thop"], row["reason"]) for row in differences(table, model, count)}
    assert found == {
        "heads": (192, 273, dict(thop_count.REASONS)[nn.MultiheadAttention]), "one": (96, 48, thop_count.SHARED), "two": (0, 48, thop_count.SHARED),
        "bare": (48, 0, thop_count.UNKNOWN), "down": (48, 96, thop_count.OTHER), "": (0, 48, thop_count.FUNCTIONS),
    }  # fmt: skip
    unknown = ThopCount(0, {"heads": 192, "one": 96}, 0)
    assert [row["module"] for row in differences(table, model, unknown)] == ["bare", "down"]
    row, *_ = differences(table, model, ThopCount(0, {"one": 96}, 0))
    assert row["module"] == "heads" and row["reason"] == thop_count.UNKNOWN


def test_a_run_of_fc(command):
    """64 x 100 + 4 x 100 x 100 + 100 x 3 = 46700 multiply-adds, in both counts; the saved run says the same."""
    done = command(*TINY, "--thop", "--expid", "x")
    assert done.status == 0, done.err
    assert "MACs of the dense network for one image: 46700 here, 46700 by thop" in done.out and "thop counts the same in every layer" in done.out
    folder = Path("Results/data/prune/x")
    table = read_named(folder / "compression.csv")
    assert table["macs_thop"].tolist() == table["macs"].tolist() == [6400, 0, *[10000, 0] * 4, 300, 0]
    assert list(table.columns)[list(table.columns).index("kept_macs") + 1] == "macs_thop"
    assert json.loads((folder / "summary.json").read_text())["thop"]["macs"] == 46700
    again = command(*TINY, "--thop", "--expid", "x")
    assert "Already done" in again.out and "46700 by thop" in again.out
    assert command(*TINY, "--expid", "plain").status == 0
    plain = Path("Results/data/prune/plain")
    assert "macs_thop" not in read_named(plain / "compression.csv") and "thop" not in json.loads((plain / "summary.json").read_text())
    weights = [torch.load(f / "model.pt", weights_only=True) for f in (folder, plain)]
    assert weights[0].keys() == weights[1].keys() and all(torch.equal(t, weights[1][k]) for k, t in weights[0].items())


@pytest.mark.parametrize("words", [["--pruner", "rigl", "--update-interval", "1"], ["--experiment", "multishot", "--level-list", "1"]], ids=" ".join)
def test_runs_that_train_keep_the_column(command, words, monkeypatch):
    """It is counted once in each cell. ResNet20 on 8x8: the first convolution has 3 x 16 x 9 weights at 64 places, its norm counts 4 for each of 16 x 64 numbers."""
    counted = []
    monkeypatch.setattr(thop_count, "count_by_thop", lambda *a: counted.append(1) or count_by_thop(*a))
    done = command("--dataset", "synthetic:3x8x8:3:20", "--model", "resnet20", "--compression", "1", "--post-epochs", "1", "--thop", "--expid", "x", *words)
    assert done.status == 0, done.err
    files = list(Path("Results/data").rglob("compression*.csv"))
    assert files and len(counted) == len({file.parent for file in files})
    for file in files:
        rows = read_named(file).set_index(["module", "param"])
        assert rows["macs_thop"]["conv", "weight"] == 3 * 16 * 9 * 64 and rows["macs_thop"]["bn", "weight"] == 4 * 16 * 64
        found = json.loads((file.parent / "summary.json").read_text())["thop"]
        assert [(d["module"], d["macs_thop"]) for d in found["differences"][:2]] == [("bn", 4096), ("blocks.0.bn1", 4096)]


def test_a_network_that_thop_cannot_count(command, monkeypatch):
    def fail(*_, **__):
        raise TypeError("no\nrule")

    monkeypatch.setattr(thop_count, "_profile", fail)
    done = command(*TINY, "--thop", "--expid", "x")
    assert done.status == 0 and "NOTE: thop cannot count this network: TypeError: no rule" in done.out
    assert read_named(Path("Results/data/prune/x/compression.csv"))["macs_thop"].isna().all()


def test_a_line_for_each_cause(capsys):
    rows = [{"module": "a", "class": "Linear", "macs": 5, "macs_thop": 7, "reason": "r"}, {"module": "b", "class": "Linear", "macs": 0, "macs_thop": 1, "reason": "r"},
            {"module": "", "class": "functions", "macs": 0, "macs_thop": 9, "reason": "f"}]  # fmt: skip
    print_thop({"version": "2", "macs": 17, "differences": rows}, 5)
    assert capsys.readouterr().out.splitlines() == [
        "MACs of the dense network for one image: 5 here, 17 by thop 2", "  +3 Linear: r: a 7 (here 5), b 1", "  +9 functions: f"]  # fmt: skip


def test_names_without_the_flag_are_those_of_before(refused, command):
    """The names of the commit before there was the flag."""
    plain, asked = parse(TINY), parse([*TINY, "--thop"])
    assert run_name(plain) == "rand-fc-synthetic_1x8x8_3_60-c1-s1-7196920a" != run_name(asked)
    assert parse([*TINY, "--seed-list", "1", "2"]).expid == "grid-fc-synthetic_1x8x8_3_60-4dbf3d4e" != parse([*TINY, "--seed-list", "1", "2", "--thop"]).expid
    assert command(*TINY, "--expid", "x").status == 0
    refused([*TINY, "--expid", "x", "--thop"], "thop False there, True asked")


def test_only_experiments_that_prune_read_it(refused):
    refused(["--experiment", "layer-conservation", "--dataset", "synthetic:1x8x8:3:60", "--thop"], "--thop", "singleshot")


def test_thop_is_imported_when_it_is_asked_for(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "thop"]:
        monkeypatch.delitem(sys.modules, name)
    runpy.run_path(str(PROJECT / "Utils/measure/thop_count.py"))
    assert "thop" not in sys.modules
