"""What is no run's file, though it is JSON: named and left out, by reports, by status and by grids."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import pytest
from conftest import TINY

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.grid.grid_folder import state_of
from Utils.options.table import defaults
from Utils.report.collect import collect
from Utils.runs.validate import check_options, check_result


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A grid of two finished cells."""
    import main

    folder = tmp_path_factory.mktemp("runs")
    assert main.main([*TINY, "--pruner", "snip", "--compression", "1", "--seed-list", "1", "2", "--expid", "g", "--result-dir", str(folder)]) == 0
    return folder / "singleshot" / "g"


KEYS = ["top1_last", "flops_kept", "seconds", "inference", "peak_memory_bytes", "collapsed_layers", "files"]
VALUES = ["abc", 10**400, float("nan"), [1, None], {"a": {"b": "c"}}, "\ud800", True]
TAKEN = [("collapsed_layers", [1, None]), ("files", {"a": {"b": "c"}})]  # a list and a dict, as they should be


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in KEYS for value in VALUES if (key, value) not in TAKEN], ids=repr)
def test_a_summary_of_foreign_types_is_refused(key, value):
    if key == "inference" and isinstance(value, dict):
        value = {"total_seconds": "fast"}
    with pytest.raises(Refused, match=r"^summary.json: "):
        check_result({"top1_last": 90.0, key: value})


def test_what_runs_write_is_taken(grid):
    for cell in grid.glob("*seed=*"):
        check_result(read_json(cell / "summary.json"))
        check_options(read_json(cell / "args.json"), "singleshot")
    check_result({"top1_last": None, "seconds": None, "inference": {}} | dict(TAKEN))


@pytest.mark.parametrize(
    "change", [{"compression": "much"}, {"post_epochs": [3]}, {"seed": None}, {"seed": {"a": 1}}, {"model": 5}, {"lr": float("inf")},
               {"shuffle": "yes"}, {"lr_drops": "60"}, {"argv": 3}, {"scale": "0.1"}, {"level": None}, {"dataset": "\ud800"}], ids=repr
)  # fmt: skip
def test_options_of_foreign_types_are_refused(change):
    check_options(defaults("multishot"), "multishot")
    with pytest.raises(Refused, match=r"^args.json: "):
        check_options(defaults("multishot") | change, "multishot")


def test_such_runs_are_left_out_of_reports_and_failed_in_status(grid, command, tmp_path):
    mine = tmp_path / "g"
    shutil.copytree(grid, mine)
    first, second = sorted(mine.glob("seed=*"))
    summary = read_json(first / "summary.json")
    (first / "summary.json").write_text(json.dumps(summary | {"seconds": "abc", "files": [1]}))
    options = json.dumps(read_json(second / "args.json") | {"post_epochs": 10**30, "compression": "much"})
    (second / "args.json").write_text(options)
    digest = hashlib.sha256(options.encode()).hexdigest()
    whole = read_json(second / "summary.json")
    (second / "summary.json").write_text(json.dumps(whole | {"files": whole["files"] | {"args.json": digest}}))
    reasons = dict(collect([mine]).left_out)
    assert 'seconds is "abc"' in reasons[first] and 'compression is "much"' in reasons[second]
    assert state_of(first).status == "failed"
    done = command("--experiment", "status", "--run", mine)
    assert done.status == 0 and " 2 failed" in done.out


def test_a_grid_and_times_of_foreign_types(grid, tmp_path, command, capsys):
    mine = tmp_path / "g"
    shutil.copytree(grid, mine)
    foreign = {"cells": 5, "title": [1], "scale": "0.1", "report": {"layer-compression": "abc"}}
    (mine / "args.json").write_text(json.dumps(read_json(mine / "args.json") | foreign))
    cell = next(mine.glob("seed=*"))
    (cell / "time.json").write_text('{"total_seconds": "fast"}')
    found = collect([mine])
    assert len(found.done) == 4 and found.settings == {}
    assert "layer-compression" in dict(found.left_out)[mine / "args.json"]
    (note,) = set(found.notes)
    assert 'total_seconds is "fast"' in note and capsys.readouterr().out == ""
    assert command("--experiment", "status", "--run", cell).out.startswith(f"{note}\n")


def test_json_that_lies_too_deep(tmp_path):
    (tmp_path / "args.json").write_text("[" * 100_000)
    with pytest.raises(Refused, match="cannot be read as JSON"):
        read_json(tmp_path / "args.json")


def test_a_folder_whose_name_is_no_text_is_listed(grid, command, no_pictures, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(grid, mine / "g")
    bad = os.fsencode(mine) + b"/bad\xff"
    try:
        os.mkdir(bad)
    except OSError:
        pytest.skip("this file system has no names that are no UTF-8")
    with open(bad + b"/args.json", "w") as file:
        file.write("{")
    assert command("--experiment", "report", "--run", mine, "--result-dir", tmp_path, "--expid", "r").status == 0
    assert "bad?" in (tmp_path / "report" / "r" / "report.html").read_text(encoding="utf-8")
