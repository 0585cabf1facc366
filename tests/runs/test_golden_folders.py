"""Folders that an earlier version made are found finished, reported, evaluated, grown and gone on with (`golden/make_folders.py`)."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from golden.make_folders import COMMANDS, FOLDERS, HALF, HALF_LEVELS, LEVELS, NETWORK

from Utils.base.json_files import read_json

RESULTS = Path("Results/data")


@pytest.fixture(autouse=True)
def earlier(tmp_path):
    """Their copy in the folder of this test."""
    shutil.copytree(FOLDERS, tmp_path / RESULTS)
    shutil.copy(NETWORK, tmp_path)


def files() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in RESULTS.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["singleshot", "unnamed", "regrow", "study"])
def test_a_run_is_found_done(command, name):
    before = files()
    done = command(*COMMANDS[name])
    assert done.status == 0 and "Already done: Results/data/" in done.out, done
    assert files() == before


@pytest.mark.parametrize(("name", "cells"), [("grid", 6), ("multishot", 2)])
def test_a_grid_is_found_done(command, name, cells):
    before = files()
    done = command(*COMMANDS[name])
    assert done.status == 0 and f"{cells} cells, {cells} done" in done.out, done
    changed = {path for path, content in files().items() if before.get(path) != content}
    assert {Path(path).name for path in changed} <= {"args.json", "manifest.json"} and files().keys() == before.keys()
    tables = [path for path in before if path.endswith("grid.csv")]
    assert tables and all(files()[path] == before[path] for path in tables)


def test_a_grid_grows(command):
    words = COMMANDS["grid"]
    place = words.index("2", words.index("--seed-list")) + 1
    done = command(*words[:place], "3", *words[place:])
    assert done.status == 0 and "cells, 6 done" in done.out and "9 done, 0 running" in done.out, done


def test_a_killed_run_goes_on(command):
    """Its rows of before stay to the last digit; a run from the beginning ends alike, up to rounding of another processor."""
    rows = pd.read_csv(RESULTS / "singleshot/half/post-train.csv")
    done = command(*HALF)
    assert done.status == 0 and "Going on after epoch 2 of 3" in done.out, done
    after = pd.read_csv(RESULTS / "singleshot/half/post-train.csv")
    assert after["epoch"].tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(after[:3], rows, check_exact=True)
    assert command(*HALF[:-1], "whole", "--result-dir", "new").status == 0
    whole = pd.read_csv("new/singleshot/whole/post-train.csv")
    pd.testing.assert_frame_equal(after.drop(columns="seconds"), whole.drop(columns="seconds"), rtol=1e-4, atol=1e-5)


def test_killed_levels_go_on(command):
    """The levels before stay to the last digit; the whole run again ends alike, up to rounding of another processor."""
    shutil.copytree(LEVELS, "half")
    cell = Path("half/multishot/half/level=3")
    rows = pd.read_csv(cell / "pre-train.csv")
    assert command(*HALF_LEVELS, "--result-dir", "half").status == 0
    assert "Going on after epoch 1 of level 3." in (cell / "log.txt").read_text()
    pd.testing.assert_frame_equal(pd.read_csv(cell / "pre-train.csv"), rows, check_exact=True)
    assert command(*HALF_LEVELS, "--result-dir", "new").status == 0
    for name in ("pre-train", "post-train", "levels", "compression"):
        tables = [pd.read_csv(folder / cell.relative_to("half") / f"{name}.csv") for folder in (Path("half"), Path("new"))]
        pd.testing.assert_frame_equal(*(table.drop(columns="seconds", errors="ignore") for table in tables), rtol=1e-4, atol=1e-5)


def test_each_is_evaluated_and_reported(command, no_pictures):
    runs = [RESULTS / "singleshot/shot", RESULTS / "singleshot/grid", RESULTS / "multishot/ladder"]
    done = command("--experiment", "evaluate", "--model", "network.py:network", "--run", *runs)
    assert done.status == 0 and done.out.count("when it was saved") == 9, done
    numbers = [[float(word) for word in re.findall(r"\d+\.\d+", line.partition(": ")[2])] for line in done.out.splitlines()]
    assert all(now == pytest.approx(then, abs=1e-5) for now, then in zip(numbers[::2], numbers[1::2], strict=True))
    done = command("--experiment", "report", "--run", RESULTS, "--expid", "r")
    assert done.status == 0 and done.out.count("Left out") == done.out.count("singleshot/half: pending") == 1, done
    summary = read_json(RESULTS / "report/r/summary.json")
    assert summary["runs"] == 10 and {"Regrowth", "Levels"} <= {title.split(",")[0] for title in summary["sections"]}, summary["sections"]
    saved = json.loads((FOLDERS / "singleshot/shot/summary.json").read_text())
    assert f"{saved['top1_last']:.2f}" in (RESULTS / "report/r/report.md").read_text()
