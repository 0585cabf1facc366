"""Assignments: presets, their parts joined to one grid, `--scale`, and what is refused."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pandas as pd
import pytest

from Experiments import assignment
from Utils.base.errors import Refused
from Utils.grid.grid_table import save_table
from Utils.options.assignment import scaled
from Utils.options.command_line import parse
from Utils.options.presets import FOLDER, names

MINE = """
title = "Mine"
description = "Two parts"
[report]
layer-compression = 0.5
histogram-layers = ["all"]
[common]
dataset = "synthetic:1x8x8:3:60"
model = "fc"
post-epochs = 2
[[part]]
name = "a"
pruner-list = ["rand", "mag"]
compression-list = [0.5, 1]
seed-list = [1, 2]
for = ["mag:pre-epochs=1"]
[[part]]
name = "b"
dense = false
model = "conv"
pruner = "rand"
compression = 1
quantization = true
"""
RUN = ["--experiment", "assignment", "--preset", "mine.toml"]
GRID = Path("Results/data/assignment/mine")


@pytest.fixture
def written(monkeypatch):
    """The reports that were asked for, as (folder of the report, run folders)."""
    calls = []
    module = types.ModuleType("Utils.report.document")
    module.write_report = lambda out, folders: calls.append((out, folders)) or []
    monkeypatch.setitem(sys.modules, "Utils.report", types.ModuleType("Utils.report"))
    monkeypatch.setitem(sys.modules, "Utils.report.document", module)
    return calls


def cells(*words):
    plan = parse(["--experiment", "assignment", *words])
    return plan, {cell.name: cell.options for cell in plan.cells}


def test_the_presets_that_come_with_the_project():
    assert names() == ["cos568-2025", "cos568-2026", "demo", "synflow-figure"] == sorted(f.stem for f in FOLDER.iterdir())


def test_cos568_2026():
    """(1 dense + 5 pruners x 3 compressions) x 2 networks, and 3 in mixed precision."""
    plan, options = cells("--preset", "cos568-2026")
    assert len(options) == 16 + 16 + 3 and plan.expid == plan.preset == "cos568-2026" and plan.recorded["report"]["histogram-layers"] == ["blocks.0"]
    mag = options["part=resnet20-cifar10,pruner=mag,compression=0.2,seed=1"]
    assert (mag.model_class, mag.model, mag.dataset, mag.pre_epochs, mag.post_epochs) == ("lottery", "resnet20", "cifar10", 200, 100)
    assert (mag.optimizer, mag.lr, mag.train_batch_size, mag.lr_drops, mag.experiment) == ("adam", 0.001, 64, [], "singleshot")
    fc = options["part=fc-mnist,pruner=synflow,compression=1,seed=1"]
    assert (fc.model_class, fc.model, fc.dataset, fc.pre_epochs, fc.post_epochs, fc.density) == ("default", "fc", "mnist", 0, 10, 0.1)
    assert {name for name, o in options.items() if o.save_trace} == {f"part=resnet20-cifar10,pruner=snip,compression={c},seed=1" for c in ("0.2", "0.5", "1")}
    assert {name for name, o in options.items() if o.quantization} == {f"part=mixed-precision,pruner=rand,compression={c},seed=1" for c in ("0.2", "0.5", "1")}
    assert sum(o.pruner == "dense" for o in options.values()) == 2 and sum(o.pre_epochs == 200 for o in options.values()) == 6


def test_cos568_2025():
    """1 dense + 5 pruners x 6 compressions, 1 dense + 5 pruners at compression 1, and SynFlow with one round at all of these."""
    plan, options = cells("--preset", "cos568-2025")
    assert len(options) == 31 + 6 + 7 and plan.recorded["report"]["layer-compression"] == 0.5
    vgg = [o for o in options.values() if o.model == "vgg16"]
    assert len(vgg) == 31 + 6 and {o.compression for o in vgg} == {0, 0.05, 0.1, 0.2, 0.5, 1, 2} and {o.model_class for o in vgg} == {"lottery"}
    once = {(o.model, o.pruner, o.compression) for o in options.values() if o.prune_epochs == 1}
    assert once == {*(("vgg16", "synflow", c) for c in (0.05, 0.1, 0.2, 0.5, 1, 2)), ("fc", "synflow", 1)}
    assert {o.post_epochs for o in vgg} == {100} and {(o.dataset, o.post_epochs) for o in options.values() if o.model == "fc"} == {("mnist", 10)}


def test_synflow_figure():
    """3 seeds x (1 dense + 5 pruners x 3 compressions)."""
    _, options = cells("--preset", "synflow-figure")
    assert len(options) == 48 and {o.seed for o in options.values()} == {42, 43, 44}
    for o in options.values():
        assert (o.model_class, o.model, o.dataset, o.post_epochs, o.train_batch_size) == ("lottery", "vgg16-bn", "cifar100", 160, 128)
        assert (o.optimizer, o.lr, o.lr_drops, o.lr_drop_rate, o.weight_decay) == ("momentum", 0.1, [60, 120], 0.1, 1e-4)
        assert o.prune_train_mode is (o.pruner in ("snip", "grasp"))
    assert {o.compression for o in options.values()} == {0, 1, 1.5, 2}


def test_demo():
    """3 x (1 + 5 x 3) fc, 2 x (1 + 5) conv, 3 x 2 in mixed precision; MNIST is included."""
    _, options = cells("--preset", "demo")
    assert len(options) == 48 + 12 + 6 and {o.dataset for o in options.values()} == {"mnist"}
    assert {o.model for o in options.values() if o.save_trace} == {"conv"} and {o.pruner for o in options.values()} == {"dense", "rand", "mag", "snip", "grasp", "synflow"}


def test_seeds_of_the_command_line_come_first():
    _, options = cells("--preset", "cos568-2026", "--seed-list", "5", "6")
    assert len(options) == 70 and {o.seed for o in options.values()} == {5, 6}


def test_scale():
    """All epochs, those of `for` too; 0 stays 0, the rest at least 1."""
    given = {"post_epochs": 160, "lr_drops": [60, 120], "for": [("mag", "pre_epochs", "200"), ("snip", "lr_drops", "2,50"), ("mag", "lr", "10")]}
    assert scaled(given, 0.1) == {
        "scale": 0.1, "pre_epochs": 0, "post_epochs": 16, "lr_drops": [6, 12],
        "for": [("mag", "pre_epochs", "20"), ("snip", "lr_drops", "1,5"), ("mag", "lr", "10")],
    }  # fmt: skip
    assert scaled({}, 0.01)["post_epochs"] == 1 and scaled({}, 2)["post_epochs"] == 20
    plan, options = cells("--preset", "cos568-2026", "--scale", "0.1")
    assert plan.expid == "cos568-2026-scale-0.1" and {(o.scale, o.pre_epochs, o.post_epochs) for o in options.values()} == {
        (0.1, 0, 10), (0.1, 20, 10), (0.1, 0, 1), (0.1, 20, 1),
    }  # fmt: skip


def test_end_to_end(command, written):
    Path("mine.toml").write_text(MINE)
    dry = command(*RUN, "--dry-run")
    assert dry.status == 0 and dry.out.count(": pending") == 11 and "Time left: " in dry.out
    assert not Path("Results").exists() and not written
    done = command(*RUN)
    assert done.status == 0 and "11 done, 0 running, 0 pending, 0 failed" in done.out, done.err
    assert written == [(GRID / "report", [GRID])] and done.out.endswith(f"Report: {GRID / 'report' / 'report.html'}\n")
    frame = pd.read_csv(GRID / "grid.csv")
    assert frame.columns[:2].tolist() == ["cell", "part"] and frame.columns[-1] == "reason" and frame["part"].tolist() == ["a"] * 10 + ["b"]
    varying = ["dataset", "model", "pre_epochs", "quantization", "pruner", "compression", "seed", "status", "top1_last"]
    assert set(varying) <= set(frame.columns) and set(frame["model"]) == {"fc", "conv"} and frame["dataset"].nunique() == 1
    assert "post_epochs" not in frame and "density_asked" in frame
    cell = GRID / "part=a,pruner=mag,compression=0.5,seed=2"
    options, grid = (json.loads((folder / "args.json").read_text()) for folder in (cell, GRID))
    assert (options["experiment"], options["scale"], options["expid"]) == ("singleshot", 1.0, f"mine/{cell.name}")
    assert (grid["preset"], grid["title"], grid["scale"], grid["experiment"]) == ("mine", "Mine", 1.0, "assignment")
    assert grid["report"] == {"layer-compression": 0.5, "histogram-layers": ["all"]} and list(grid["parts"]) == ["a", "b"]
    before = {p: p.stat().st_mtime_ns for p in GRID.glob("*/*")}
    assert "11 cells, 11 done" in command(*RUN).out and {p: p.stat().st_mtime_ns for p in GRID.glob("*/*")} == before
    for experiment in ("evaluate", "time", "histogram"):
        assert command("--experiment", experiment, "--run", cell).status == 0, experiment
    status = command("--experiment", "status", "--run", GRID)
    assert status.status == 0 and f"{GRID}: 11 done" in status.out and "3/3" in status.out


def test_a_preset_grows_and_its_recipe_stays(command, refused, written):
    Path("mine.toml").write_text(MINE)
    small = [*RUN, "--seed-list", "1"]
    assert command(*small).status == 0
    Path("mine.toml").write_text(MINE.replace("[0.5, 1]", "[0.5, 2]"))
    grown = command(*small)
    assert grown.status == 0 and "6 cells, 4 done" in grown.out and len(pd.read_csv(GRID / "grid.csv")) == 8
    Path("mine.toml").write_text(MINE.replace("post-epochs = 2", "post-epochs = 2\nlr = 0.5"))
    refused(small, "another grid", "part a: lr 0.001 there, 0.5 asked")
    Path("mine.toml").write_text(MINE.replace("pre-epochs=1", "pre-epochs=2"))
    refused(small, "another grid", "part a: --for")
    Path("mine.toml").write_text(MINE)
    refused([*small, "--scale", "0.5", "--expid", "mine"], "another grid", "scale 1.0 there, 0.5 asked")
    assert command(*small, "--scale", "0.5").status == 0 and Path(GRID.parent, "mine-scale-0.5", "grid.csv").exists()


def test_the_same_network_is_checked_on_each_dataset(refused):
    """VGG11 halves its images five times: 3x32x32 fit, 3x8x8 do not."""
    parts = [f'[[part]]\nname = "{name}"\ndataset = "synthetic:3x{side}x{side}:3:60"\n' for name, side in (("a", 32), ("b", 8))]
    Path("mine.toml").write_text('[common]\nmodel = "vgg11"\npruner-list = ["rand"]\ncompression = 1\n' + "".join(parts))
    refused(RUN, "cell part=b,pruner=dense: --model vgg11 cannot take images of 3x8x8")


def test_a_pending_cell_of_an_earlier_command_does_not_hold_the_report_back(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(MINE)
    plan = parse([*RUN, "--seed-list", "1"])
    rows = [{"cell": cell.name, "status": "done"} for cell in plan.cells] + [{"cell": "part=a,seed=9", "status": "pending"}]
    save_table(GRID, pd.DataFrame(rows))
    assignment._write_report(plan)
    assert written == [(GRID / "report", [GRID])] and capsys.readouterr().out == f"Report: {GRID / 'report' / 'report.html'}\n"
    rows[0]["status"] = "running"
    save_table(GRID, pd.DataFrame(rows))
    assignment._write_report(plan)
    assert len(written) == 1 and "1 are to come" in capsys.readouterr().out


def test_a_failed_cell_is_in_the_report(command, written):
    Path("mine.py").write_text("from torch import nn\ndef net(s, c):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, c), nn.BatchNorm1d(c))\n")
    Path("mine.toml").write_text(MINE.replace('model = "conv"', 'model = "mine.py:net"\ntrain-batch-size = 1'))
    done = command(*RUN, "--seed-list", "1")
    assert done.status == 1 and done.err.endswith("1 of 6 cells failed: part=b,seed=1\n") and len(written) == 1


@pytest.mark.parametrize(("old", "new", "parts"), [
    ("", "", ["--preset nothing", "cos568-2026, demo"]),
    ('title = "Mine"', "title = 3", ["mine.toml", "title"]),
    ('title = "Mine"', "titel = 3", ["mine.toml", "titel", "did you mean title?", "title, description"]),
    ('title = "Mine"', "title = ", ["mine.toml", "no TOML", "line 2"]),
    ("layer-compression = 0.5", "layer-compression = inf", ["mine.toml", "[report]"]),
    ("layer-compression = 0.5", f"layer-compression = {'9' * 400}", ["mine.toml", "[report]", "from 0 to 30"]),
    ('name = "b"', 'name = "a"', ["mine.toml, part 2", "a already"]),
    ('name = "b"', "", ["mine.toml, part 2", "name = None"]),
    ('name = "b"', 'name = "../b"', ["mine.toml, part 2", "'../b'"]),
    ("dense = false", "dense = 1", ["part b", "dense = 1"]),
    ("dense = false", 'dense = false\npruner-list = ["rand"]', ["part b", "--pruner-list and --pruner"]),
    ("compression = 1\n", "compresion = 1\n", ["mine.toml, part b", "compresion", "compression"]),
    ("compression = 1\n", "compression = -1\n", ["mine.toml, part b", "--compression", "'-1'", "from 0"]),
    ("compression = 1\n", "compression = [1]\n", ["part b", "--compression", "one text"]),
    ("compression = 1\n", "compression = 2020-01-01\n", ["part b", "--compression", "2020"]),
    ("compression = 1\n", "compression = 1\nresult-dir = 'x'\n", ["part b", "unknown key result-dir"]),
    ("compression = 1\n", "compression = 12\n", ["part=b", "--compression 12", "keeps none"]),
    ('["rand", "mag"]', '["rand", "magic"]', ["mine.toml, part a", "--pruner-list", "magic", "synflow"]),
    ('["rand", "mag"]', '["rand", "--lr"]', ["mine.toml, part a", "--pruner-list", "'--lr'"]),
    ("mag:pre-epochs=1", "mag:pre-epochs=x", ["mine.toml, part a", "--for mag:pre-epochs=x", "whole number"]),
    ("quantization = true", "quantization = 2", ["part b", "--quantization", "'2'"]),
])  # fmt: skip
def test_refusals_name_file_part_and_flag(old, new, parts, refused):
    assert MINE.count(old) == 1 or not old
    Path("mine.toml").write_text(MINE.replace(old, new) if old else MINE)
    refused(RUN if old else [*RUN[:3], "nothing"], *parts)


@pytest.mark.parametrize(("words", "parts"), [
    (RUN[:2], ["--preset", "cos568-2026", "FILE.toml"]),
    (RUN, ["mine.toml", "cannot be read"]),
    ([*RUN[:3], "demo", "--scale", "0"], ["--scale", "above 0"]),
    ([*RUN[:3], "demo", "--lr", "1"], ["--lr", "assignment"]),
    ([*RUN[:3], "demo", "--for", "mag:lr=1"], ["--for", "assignment"]),
    ([*RUN[:3], "demo", "--no-save", "--no-download"], ["--no-save"]),
    (["--preset", "demo"], ["--preset", "singleshot", "assignment"]),
    ([*RUN[:3], "cos568-2026", "--no-download"], ["part=resnet20-cifar10", "cifar-10"]),
])  # fmt: skip
def test_refusals_of_the_command_line(words, parts, refused):
    refused(words, *parts)


def test_traces_may_be_asked_of_one_pruner():
    plan = parse(["--pruner-list", "rand", "snip", "--compression", "1", "--for", "snip:save-trace=true"])
    assert [cell.options.save_trace for cell in plan.cells] == [False, False, True]
    with pytest.raises(Refused, match="choose from True, False"):
        parse(["--pruner-list", "snip", "--for", "snip:save-trace=yes!"])
