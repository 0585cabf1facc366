"""A report is made again only where something that it was made from has changed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY, without_pictures
from matplotlib.figure import Figure as Drawing

import Utils.report.document as document
from Utils.base.json_files import read_json, write_json
from Utils.options.report_choices import Choices
from Utils.report import made_from, print_pdf
from Utils.report.blocks import Document, Figure, Missing, Section, Table
from Utils.report.collect import Collection

SMALL = Document("t", "one run", Collection(), [Section("s", [Table("t", "c", pd.DataFrame({"a": [1]})), Figure("f", "c", "d", Drawing())])],
                 [Missing("a trace", "python main.py --save-trace")])  # fmt: skip


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    import main

    place = tmp_path_factory.mktemp("runs")
    words = [*TINY, "--pruner", "snip", "--compression-list", "0.5", "1", "--result-dir", str(place), "--expid", "g"]
    assert main.main(words) == 0
    return place / "singleshot" / "g"


@pytest.fixture
def made(grid, monkeypatch, tmp_path):
    """A function that asks for the report of the grid, prints its lines, and says whether it was made; it has been made once already."""
    calls, choices = [], Choices()
    monkeypatch.setattr(document, "compose", lambda *words: calls.append(words) or SMALL)

    def ask(**changes: object) -> bool:
        calls.clear()
        with without_pictures():
            print("\n".join(document.write_report(tmp_path / "report", [grid], replace(choices, **changes))))
        return bool(calls)

    assert ask() and not ask()
    return ask


def test_nothing_new_draws_nothing_and_says_the_same(made, capsys, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "report").rglob("*")}
    capsys.readouterr()
    assert not made() and capsys.readouterr().out.startswith("No report.pdf, as there is no Chromium")
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "report").rglob("*")} == before


def change_the_numbers(grid: Path, out: Path) -> None:
    file = next(grid.glob("*/summary.json"))
    write_json(file, read_json(file) | {"top1_best": 1.5})


def add_a_measurement(grid: Path, out: Path) -> None:
    (next(grid.glob("*/summary.json")).parent / "time.json").write_text("{}")


def touch_a_table(grid: Path, out: Path) -> None:
    os.utime(next(grid.glob("*/compression.csv")), (1, 1))


def change_the_grid(grid: Path, out: Path) -> None:
    with open(grid / "grid.csv", "a") as file:
        file.write("\n")


def name_a_run_that_has_not_begun(grid: Path, out: Path) -> None:
    write_json(grid / "args.json", (content := read_json(grid / "args.json")) | {"cells": [*content["cells"], "pruner=mag"]})


def write_a_text(grid: Path, out: Path) -> None:
    (out / "discussion.md").write_text("## Task 1\n\nMagnitude wins.\n")


def change_a_file_of_the_report(grid: Path, out: Path) -> None:
    (out / "report.md").write_text("mine")


def remove_a_figure(grid: Path, out: Path) -> None:
    next((out / "figures").glob("*.png")).unlink()


def put_a_link(grid: Path, out: Path) -> None:
    (out / "made_from.json").write_text("{}")


@pytest.mark.parametrize("change", [
    change_the_numbers, add_a_measurement, touch_a_table, change_the_grid, name_a_run_that_has_not_begun, write_a_text, change_a_file_of_the_report,
    remove_a_figure, put_a_link,
])  # fmt: skip
def test_any_change_makes_it_anew(made, grid, tmp_path, change):
    change(grid, tmp_path / "report")
    assert made() and not made()


def test_other_choices_another_program_or_a_browser_make_it_anew(made, monkeypatch, tmp_path):
    assert made(layer_compression=1.0) and not made(layer_compression=1.0) and made()
    monkeypatch.setattr(made_from, "_program", lambda: "another version")
    assert made() and not made()
    monkeypatch.setattr(print_pdf, "browser", lambda: None)
    monkeypatch.setattr(made_from, "browser", lambda: "/usr/bin/a-browser")
    assert made() and not made()


def test_another_print_is_no_change(made, tmp_path):
    record = read_json(tmp_path / "report" / "made_from.json")
    write_json(tmp_path / "report" / "made_from.json", record | {"files": record["files"] | {"report.pdf": "0" * 64}})
    assert made()  # there is none
    write_json(tmp_path / "report" / "made_from.json", record | {"files": record["files"] | {"report.pdf": "0" * 64}})
    (tmp_path / "report" / "report.pdf").write_text("printed by hand")
    assert not made()


def test_the_command_ends_with_the_same_lines(command, grid, monkeypatch, no_pictures, tmp_path):
    words = ["--experiment", "report", "--run", grid, "--result-dir", tmp_path, "--expid", "r"]
    calls = []
    monkeypatch.setattr("Experiments.report.compose", lambda *words: calls.append(words) or SMALL)
    first = command(*words)
    assert first.status == 0 and "Missing: a trace: python main.py --save-trace" in first.out and first.out.count("\n") == 3
    assert command(*words).out == first.out and len(calls) == 1
    (tmp_path / "report" / "r" / "summary.json").unlink()
    assert command(*words).out == first.out and len(calls) == 2
    assert command(*words, "--overwrite").out == first.out and len(calls) == 3
