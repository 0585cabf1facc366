"""The additions of docs/extending.md, made on a copy of the project by the page's own blocks; its commands show each of them."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import PROJECT
from test_commands import commands_of

from Utils.base.json_files import read_json
from Utils.compute.precision import Precision
from Utils.options.command_line import parse
from Utils.runs.dense_cache import dense_path
from Utils.runs.places import path_of

PAGE = (PROJECT / "docs/extending.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0].lower().replace(" ", "-"): part for part in PAGE.split("\n## ")[1:]}
FILES = {anchor: int(count) for anchor, count in re.findall(r"^\| \[[^\]]*\]\(#([\w-]+)\) \| (\d+) \|$", PAGE, re.MULTILINE)}
BLOCK = re.compile(r"^`(?P<file>\S+)`:\n```python\n(?P<code>.*?)^```$|^```diff\n(?P<patch>.*?)^```$", re.MULTILINE | re.DOTALL)
SOURCES = ("Experiments", "Models", "Pruners", "Utils", "main.py", "pyproject.toml")
COMMANDS = [" ".join(words[2:]) for words in commands_of(PAGE)]
WITHOUT_TORCH = [line for line in COMMANDS if line.startswith(("--help", "--list datasets", "--list experiments"))]
FLOOR = next(line for line in COMMANDS if "--lr-floor" in line)
EARLIER = FLOOR.replace(" --lr-floor 0.8", "")  # a run that was possible before the option was there
DRIVER = """
import contextlib, io, json, sys
import main

ended = {}
for line in json.load(sys.stdin):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out):
        try:
            status = main.main(line.split())
        except SystemExit as stop:
            status = stop.code
    out.flush()
    ended[line] = [status or 0, out.buffer.getvalue().decode()]
json.dump(ended, sys.stdout)
"""


def apply_patch(patch: str, root: Path) -> str:
    """Change a file as `git apply` does, if the lines that the patch shows stand in it exactly once; returns the file's name."""
    head = re.match(r"--- a/(\S+)\n\+\+\+ b/\1\n@@ -\d+,(\d+) \+\d+,(\d+) @@\n", patch)
    lines = patch[head.end() :].splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in marks) for marks in (" -", " +"))
    assert [int(head[2]), int(head[3])] == [before.count("\n"), after.count("\n")], head[0]
    file = root / head[1]
    text = file.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{head[1]} has these lines {text.count(before)} times, not once:\n{before}"
    file.write_text(text.replace(before, after), encoding="utf-8")
    return head[1]


def add(section: str, root: Path) -> set[str]:
    """Make the addition of a section to the project in `root`; returns the names of the files that it touches."""
    touched = set()
    for block in BLOCK.finditer(section):
        if block["file"]:
            assert not (root / block["file"]).exists()
            (root / block["file"]).write_text(block["code"], encoding="utf-8")
        touched.add(block["file"] or apply_patch(block["patch"], root))
    return touched


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of the project with all additions of the page."""
    folder = tmp_path_factory.mktemp("extended")
    for name in SOURCES:
        copy = functools.partial(shutil.copytree, ignore=shutil.ignore_patterns("__pycache__")) if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, folder / name)
    touched = {anchor: add(section, folder) for anchor, section in SECTIONS.items()}
    assert {anchor: len(names) for anchor, names in touched.items()} == FILES
    return folder


def run(root: Path, lines: list[str]) -> dict[str, str]:
    """Run commands one after the other in one process that knows the copy alone; returns what each of them printed."""
    done = subprocess.run([sys.executable, "-c", DRIVER], cwd=root, input=json.dumps(lines), capture_output=True, text=True, check=True)
    ended = json.loads(done.stdout)
    assert all(status == 0 for status, _ in ended.values()), (ended, done.stderr)
    return {line: out for line, (_, out) in ended.items()}


def test_every_block_is_carried_out(root):
    """The count of files is that of the page's table; a block in no known form, or in no section, would go unseen."""
    blocks = re.findall(r"^```(python|diff)$", PAGE, re.MULTILINE)
    assert len(blocks) == len(BLOCK.findall(PAGE)) == sum(len(BLOCK.findall(section)) for section in SECTIONS.values()) and FILES
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_needs_no_torch_shows_the_additions(root):
    out = run(root, WITHOUT_TORCH)
    assert re.search(r"^ *bars +1x8x8 +2 +300 +60 ", out["--list datasets"], re.MULTILINE)
    assert re.search(r"^ *before-training +prune and test, without training", out["--list experiments"], re.MULTILINE)
    assert "--test-batch-size" in out["--help before-training"] and "--post-epochs" not in out["--help before-training"]
    assert "--lr-floor FLOOR" in out["--help singleshot"] and "gradient-flow" in out["--help singleshot"]


@pytest.fixture(scope="module")
def ended(root):
    """What each command of the page printed, and `EARLIER`."""
    return run(root, [*(line for line in COMMANDS if line not in WITHOUT_TORCH), EARLIER])


def folder_of(root: Path, pattern: str) -> Path:
    """The one run folder whose name is of this pattern."""
    (folder,) = (root / "Results/data").glob(f"*/{pattern}")
    return folder


@pytest.mark.long
def test_a_pruner(root, ended):
    assert re.search(r"^ *gradient-flow +\(dL/dw\)\^2 scoring images +1 ", ended["--list pruners"], re.MULTILINE)
    assert any("Pruning with gradient-flow for 1 epochs to density 0.1 " in out for out in ended.values())
    summary = read_json(folder_of(root, "gradient_flow-fc-*") / "summary.json")
    assert summary["options"]["pruner"] == "gradient-flow" and summary["density"] == pytest.approx(0.1, abs=1e-4)


@pytest.mark.long
def test_a_network(root, ended):
    assert re.search(r"^ *default +separable +1194 ", ended["--list models"], re.MULTILINE)
    table = pd.read_csv(folder_of(root, "synflow-separable-*") / "compression.csv")
    assert table["size"].sum() == 963 and table["shape"].tolist()[:3] == ["16x1x3x3", "16", "16x1x3x3"]


@pytest.mark.long
def test_a_dataset(root, ended):
    summary = read_json(folder_of(root, "snip-fc-bars-*") / "summary.json")
    assert summary["options"]["dataset"] == "bars" and "untrained" in summary


@pytest.mark.long
def test_a_measured_number(root, ended):
    grid = root / "Results/data/prune/counted"
    table = pd.read_csv(grid / "grid.csv").set_index("pruner")
    layers = {name: pd.read_csv(grid / f"pruner={name}/compression.csv") for name in ("mag", "snip")}
    fewest = {name: rows.loc[rows["prunable"], "kept"].min() for name, rows in layers.items()}
    assert table["fewest_kept"].to_dict() == fewest
    report = (root / "Results/data/report/counted/report.md").read_text(encoding="utf-8")
    assert f"| 1 | 10 % | {fewest['mag']} | {fewest['snip']} |" in report and "has the highest number of weights left in the emptiest layer" in report
    assert "mean absolute value of each layer's kept weights" in report
    means = layers["snip"].loc[layers["snip"]["prunable"], "weight_abs_mean"]
    assert (means > 0).all() and f" {means.iloc[0]:.4f} |" in report


@pytest.mark.long
def test_an_experiment(root, ended):
    """It runs as a grid and is in a report: a test accuracy in each cell, and no file of a training."""
    folder = root / "Results/data/before-training/early"
    cells = pd.read_csv(folder / "grid.csv").set_index("pruner")
    assert sorted(cells.index) == ["rand", "snip"] and cells["top1_last"].notna().all() and (cells["status"] == "done").all()
    assert {file.name for file in (folder / "pruner=snip").iterdir()} >= {"args.json", "compression.csv", "summary.json"}
    assert not list(folder.rglob("post-train.csv"))
    assert f"top-1 {cells['top1_last']['snip']:.2f} %" in (folder / "pruner=snip/log.txt").read_text()
    report = (root / "Results/data/report/early/report.md").read_text(encoding="utf-8")
    assert f"| 1 | 10 % | {cells['top1_last']['rand']:.2f} | {cells['top1_last']['snip']:.2f} |" in report and "nan" not in report


@pytest.mark.long
def test_an_option(root, ended):
    """Recorded, in the name, in the key of the dense network; at its default the name and the key are those of before."""
    results = root / "Results/data"
    before = parse(EARLIER.split())
    own = root / path_of(before)
    (other,) = [folder for folder in own.parent.glob("mag-*") if folder != own]
    recorded = [read_json(folder / "args.json")["lr_floor"] for folder in (own, other)]
    assert recorded == [0.0, 0.8]
    rates = [pd.read_csv(folder / "post-train.csv")["lr"].tolist()[1:] for folder in (own, other)]
    assert rates == [pytest.approx([0.001, 0.0005]), pytest.approx([0.001, 0.0008])]
    dense = {file.name for file in (results / "dense-networks").glob("*.bin")}
    assert len(dense) == 2 and dense_path(before, Precision(torch.device("cpu"))).name in dense


@pytest.mark.long
def test_a_schedule_and_budgets(root, ended):
    """Budgets by hand: shares of 4670 weights by isqrt of 6400, 10000 (four times) and 300, the remainder by largest remainders."""
    assert re.search(r"^ *gradual .* 10 +example", ended["--list pruners"], re.MULTILINE)
    table = pd.read_csv(folder_of(root, "gradual-fc-*") / "compression.csv")
    assert table.loc[table["prunable"], "kept"].tolist() == [752, 940, 940, 939, 939, 160]
