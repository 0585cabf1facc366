"""The one declaration of what `summary.json` and `compression.csv` hold: a new number needs no other file."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import PROJECT, TINY

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.grid.grid_folder import state_of
from Utils.report.document import compose
from Utils.runs import summary, summary_keys
from Utils.runs.summary_keys import KEYS, LAYER_COLUMNS, NUMBER, WHOLE, Column, Key, Report, grid_columns
from Utils.runs.validate import check_result
from Utils.training import masked_network

FOLDERS = sorted((PROJECT / "tests" / "golden" / "folders").rglob("summary.json"))
NEW = Key("bytes_read", NUMBER, "bytes", "bytes read for one image", cell=8, report=Report(digits=1, divisor=1e3, better="lower", table=True))
LEADS = "At compression 1, mag (2.0) has the lowest bytes read for one image, snip (4.0) the next; the difference is "
COLUMN = Column("fan_in", "inputs of each unit", printed=True, format=".1f", report=Report(digits=1, table=True))


@pytest.fixture
def measured(monkeypatch):
    """A number that `totals` measures, and a column that `compression_table` measures: declared, and named nowhere else."""
    totals, table = summary.totals, masked_network.compression_table
    monkeypatch.setattr(summary, "totals", lambda rows: totals(rows) | {"bytes_read": 1500 + int(rows["kept"].sum())})
    monkeypatch.setattr(masked_network, "compression_table", lambda *args: table(*args).assign(fan_in=lambda rows: rows["size"] / 4))
    monkeypatch.setattr(summary_keys, "KEYS", (*KEYS, NEW))
    monkeypatch.setattr(summary_keys, "LAYER_COLUMNS", (*LAYER_COLUMNS, COLUMN))


def test_a_new_number_is_saved_checked_a_column_and_reported(measured, command):
    words = [*TINY[:4], "--experiment", "prune", "--pruner-list", "mag", "erk", "--compression", "0.5", "--expid", "g"]
    done = command(*words)
    grid = Path("Results/data/prune/g")
    cells = [grid / f"pruner={name}" for name in ("mag", "erk")]
    saved = [read_json(cell / "summary.json") for cell in cells]
    numbers = [1500 + content["params_kept"] for content in saved]
    assert [content["bytes_read"] for content in saved] == numbers
    assert pd.read_csv(grid / "grid.csv")["bytes_read"].tolist() == numbers and " bytes_read" in done.out
    layers = pd.read_csv(cells[0] / "compression.csv")
    assert (layers["fan_in"] == layers["size"] / 4).all()
    assert f"{layers['fan_in'][0]:.1f}" in (cells[0] / "log.txt").read_text()

    sections = {section.title: section.blocks for section in compose([grid]).sections}
    table = next(block for block in sections["Measurements"] if "bytes read for one image" in getattr(block, "caption", ""))
    assert table.caption.startswith("default fc on synthetic")
    assert table.text.loc[1, ["mag", "erk"]].tolist() == [f"{number / 1e3:.1f}" for number in numbers]
    table = next(block for block in sections["Layers"] if getattr(block, "name", "").startswith("layer-fan-in"))
    weights = layers[layers["prunable"]]
    assert table.text["mag"].tolist() == [f"{size / 4:.1f}" for size in weights["size"]] and "inputs of each unit" in table.caption

    content = json.loads((cells[0] / "summary.json").read_text()) | {"bytes_read": "many"}
    del content["checksum"]
    (cells[0] / "summary.json").write_text(json.dumps(content | {"files": {}}))
    assert 'bytes_read is "many"' in state_of(cells[0]).reason


def test_methods_are_ranked_where_the_declaration_says_how(monkeypatch):
    from reports import collection, made

    from Utils.report.groups import groups
    from Utils.report.sections.measurements import measurements

    monkeypatch.setattr(summary_keys, "KEYS", (*KEYS, NEW))
    runs = [made(pruner, seed=seed, summary={"bytes_read": value}) for pruner, seed, value in
            (("snip", 1, 3000), ("snip", 2, 5000), ("mag", 1, 2000), ("mag", 2, 2000), ("rand", 1, 9000))]  # fmt: skip
    table, said = measurements(groups(collection(*runs))).blocks
    assert table.text.loc[1, "snip"].replace("\u00a0", " ") == "4.0 ± 1.4 (n = 2)"
    assert said.lines == [f"{LEADS}more than their two standard deviations together."]
    _, said = measurements(groups(collection(*runs[:3]))).blocks
    assert said.lines[0].endswith("the next; with one seed of a method, nothing is known of the spread.")
    assert measurements(groups(collection(made("snip")))) is None


@pytest.mark.parametrize("file", FOLDERS, ids=lambda file: file.parent.name)
def test_every_key_that_runs_write_is_declared(file):
    content, declared = read_json(file), {key.name: key for key in KEYS}
    check_result(content)
    assert set(content) <= set(declared)
    assert set(content.get("inference", ())) <= {key.name for key in declared["inference"].inner}
    if (file.parent / "compression.csv").exists():
        assert set(pd.read_csv(file.parent / "compression.csv")) <= {column.name for column in LAYER_COLUMNS}


@pytest.mark.parametrize(("content", "said"), [
    ({"params_kept": 1.5}, "params_kept is 1.5"), ({"params_kept": None}, "params_kept is null"), ({"collapsed": "yes"}, 'collapsed is "yes"'),
    ({"status": 3}, "status is 3"), ({"explored": True}, "explored is true"), ({"notes": "none"}, 'notes is "none"'),
    ({"trace": {"wall_ms": "long"}}, 'trace: wall_ms is "long"'),
    ({"inference": {"batch_seconds": {"median": "fast"}}}, 'inference: batch_seconds: median is "fast"'),
], ids=str)  # fmt: skip
def test_values_of_another_type_are_named(content, said):
    with pytest.raises(Refused, match=f"^summary.json: {said}, which no run writes$"):
        check_result(content)


def test_a_number_that_was_not_finite_is_taken():
    check_result({"explored": None, "inference": {"total_seconds": None}, "seconds": {"prune": None}})


def test_columns_stand_in_the_order_of_the_summary_then_those_of_mappings():
    content = {"seed": 1, "inference": {"total_seconds": 2.0, "batch_seconds": {"median": 3.0}}, "options": {"lr": 1}, "files": {"a": "b"},
               "newer": 4, "collapsed_layers": [], "seconds": {"prune": 5.0}, "top1_last": None}  # fmt: skip
    columns = {"seed": 1, "newer": 4, "top1_last": None, "seconds_prune": 5.0, "inference_total_seconds": 2.0, "inference_batch_seconds_median": 3.0}
    assert list(grid_columns(content).items()) == list(columns.items())


def test_no_name_is_declared_twice():
    for declared in (KEYS, LAYER_COLUMNS, *(key.inner for key in KEYS)):
        assert len({one.name for one in declared}) == len(declared)
    assert next(key for key in KEYS if key.name == "params_kept").kind is WHOLE
