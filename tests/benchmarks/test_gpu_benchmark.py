"""The benchmark of a CUDA card, gone through on a CPU: every part, its page, and what happens when something goes wrong."""

from __future__ import annotations

import gc
import json
import os

import pytest
import torch
from conftest import PROJECT

from benchmarks.gpu import __main__ as program
from benchmarks.gpu import pruning, sizes
from benchmarks.gpu.card import Card
from benchmarks.gpu.cell import variants
from benchmarks.gpu.record import MEANINGLESS, Record, render, table
from benchmarks.gpu.sizes import CASES, DRY, Case
from benchmarks.gpu.tasks import Part, Task, reason, run
from Pruners import names
from Utils.base.json_files import read_json
from Utils.compute import compilation

CPU = Card(torch.device("cpu"))
ABOUT = {"card": "a card", "driver": "1.2", "torch": "2.9.0", "CUDA": "13.0", "cuDNN": "9"}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Steps of two images are over before a second thread has begun."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def flags():
    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    deterministic = torch.are_deterministic_algorithms_enabled()
    return (cudnn.allow_tf32, products.allow_tf32, cudnn.deterministic, deterministic, torch.get_num_threads(),
            os.environ.get(program.WORKSPACE), gc.get_freeze_count())  # fmt: skip


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """The page and the JSON of a dry run of everything."""
    page = tmp_path_factory.mktemp("dry") / "some/page.md"
    before = flags()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compilation, "BACKEND", "eager")  # the inductor takes minutes
        assert program.main(["--dry", "--out", str(page)]) == 0
    assert flags() == before
    return page.read_text(), read_json(page.with_suffix(".json"))


def test_every_part_has_rows(dry):
    page, content = dry
    assert list(content["parts"]) == list(program.PARTS) and content["dry"]
    for name, part in content["parts"].items():
        assert part["rows"] and not part["left_out"] and not any("error" in row for row in part["rows"]), name
        assert f"\n## {name}\n{part['about']}\n\n{MEANINGLESS}\n\n{table(part['rows'])}" in page
    assert page.count(MEANINGLESS) == len(program.PARTS)
    head = page.splitlines()[1]
    assert all(f"{word} {content['about'][word]}" in head for word in ("driver", "torch", "CUDA", "cuDNN"))
    assert content["date"] in head


def test_the_rows_are_complete(dry):
    rows = {name: part["rows"] for name, part in dry[1]["parts"].items()}
    trained = [(case.network, v.labels()) for case in DRY.cases for v in variants(case)]
    for name in ("eager", "captured"):
        assert [(r["network"], {k: r[k] for k in ("precision", "layout")}) for r in rows[name]] == trained
        assert all(r["ms a step"] > 0 and r["host ms a step"] > 0 and r["seconds an epoch"] > 0 for r in rows[name])
    assert [r["network"] for r in rows["textbook"]] == [case.network for case in DRY.cases]
    assert all(r["bits of eager steps"] and r["eager steps repeat themselves"] for r in rows["captured"])
    assert [r["precision"] for r in rows["compiled"]] == ["TF32", "bf16 autocast"]
    assert all(r["bits of eager steps"] and r["seconds to compile"] > 0 for r in rows["compiled"])
    assert all(r["bits of one alone"] for r in rows["cells"]) and {r["cells"] for r in rows["cells"]} == set(DRY.cells)
    assert rows["synflow"][0]["ms a round"] > 0 and rows["synflow"][0]["peak GiB"] > 0
    assert [(r["network"], r["pruner"]) for r in rows["masks"]] == [(n, p) for n in DRY.networks for p in names()]
    assert all(r["totals equal"] and r["within tolerance"] and r["share of equal entries"] == 1 for r in rows["masks"])
    assert len(rows["determinism"]) == len(names()) + len(trained) and not any(r["raises"] for r in rows["determinism"])


def test_what_is_measured_on_a_card():
    assert [(case.network, case.batch, case.optimizer) for case in CASES] == [
        ("resnet20", 64, "adam"), ("resnet20", 128, "adam"), ("vgg16-bn", 128, "momentum"), ("fc", 64, "adam"),
    ]  # fmt: skip
    asked = [len(list(program.PARTS[name].tasks(CPU, sizes.Sizes()))) for name in ("floors", "eager", "captured", "cells", "masks")]
    assert asked == [12, 21, 21, 35, 2 * len(names())]
    assert sizes.Sizes().large == "vgg16-bn" and sizes.Sizes().networks == ("fc", "resnet20")
    assert Case("fc", 64, "adam", 60_000).epoch(0.001) == pytest.approx(0.938)


def test_without_a_card_nothing_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(program, "PAGE", tmp_path / "gpu.md")
    assert program.main([]) == program.main(["--out", str(tmp_path / "x.md")]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 2 and all("no CUDA card" in line for line in err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["page.json", PROJECT / "benchmarks/gpu.md", "/dev/null/page.md"])
def test_pages_that_cannot_be(out, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert program.main(["--dry", "--parts", "floors", "--out", str(out)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_without_a_place_is_written_elsewhere(capsys):
    before = sorted((PROJECT / "benchmarks").iterdir())
    assert program.main(["--dry", "--parts", "floors", "--seconds", "0"]) == 0
    page = capsys.readouterr().out.splitlines()[-1].removeprefix("Written: ")
    assert page.endswith("gpu.md") and os.path.exists(page)
    assert sorted((PROJECT / "benchmarks").iterdir()) == before


def fail():
    raise RuntimeError("no such kernel\nmore of it")


def broken_tasks(card, sizes):
    yield Task({"what": "one"}, 1, fail)
    yield Task({"what": "two"}, 1, lambda: {"value": 2.0})
    fail()


def test_a_part_that_raises_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setitem(program.PARTS, "eager", Part("Broken.", broken_tasks))
    page = tmp_path / "page.md"
    assert program.main(["--dry", "--parts", "eager", "floors", "--out", str(page)]) == 1
    parts = read_json(page.with_suffix(".json"))["parts"]
    error = "RuntimeError: no such kernel"
    assert parts["eager"]["rows"] == [{"what": "one", "error": error}, {"what": "two", "value": 2.0}, {"error": error}]
    assert f"| one | {error} | - |" in page.read_text() and "| two | - | 2 |" in page.read_text()
    assert parts["floors"]["rows"] and not any("error" in row for row in parts["floors"]["rows"])


def test_an_error_after_an_error_names_both():
    try:
        try:
            fail()
        finally:
            raise ValueError("the capture ended")
    except ValueError as error:
        assert reason(error) == "ValueError: the capture ended; before it RuntimeError: no such kernel"


def test_when_time_is_out_the_rest_is_named(tmp_path, capsys):
    page = tmp_path / "page.md"
    assert program.main(["--dry", "--seconds", "0", "--parts", "floors", "cells", "--out", str(page)]) == 0
    content = read_json(page.with_suffix(".json"))
    assert not any(part["rows"] for part in content["parts"].values())
    assert len(content["parts"]["cells"]["left_out"]) == 6
    assert "Left out, because too little of `--seconds` was left: what copy of 4096 bytes" in page.read_text()
    assert "network fc, batch 2, optimizer momentum, precision TF32, layout contiguous, cells 2." in page.read_text()
    assert "left out, no time" in capsys.readouterr().out


def test_a_short_measurement_is_done_where_a_long_one_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.gpu.tasks.time.monotonic", lambda: 100.0)
    part = Part("", lambda *_: iter([Task({"what": "long"}, 9, fail), Task({"what": "short"}, 3, lambda: {"value": 1})]))
    record = Record(tmp_path / "page.md", ABOUT, False)
    assert run("some", part, CPU, DRY, record, 105.0)
    assert record.content["parts"]["some"]["left_out"] == ["what long"]
    assert record.content["parts"]["some"]["rows"] == [{"what": "short", "value": 1}]


def test_each_row_is_written_at_once(tmp_path):
    page = tmp_path / "page.md"
    record = Record(page, ABOUT, False)
    record.begin("floors", "About.")
    for count in (1, 2):
        record.add("floors", {"what": "a | b", "value": 1234.5678, "good": True, "none": None})
        assert page.read_text().count("| a \\| b | 1235 | yes | - |") == count == len(read_json(tmp_path / "page.json")["parts"]["floors"]["rows"])
    assert MEANINGLESS not in page.read_text() and page.read_text().splitlines()[1].startswith("a card, driver 1.2, torch 2.9.0, CUDA 13.0,")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.json", "page.md"]


def test_parts_of_before_stay_if_the_card_is_the_same(tmp_path):
    record = Record(tmp_path / "page.md", ABOUT, False)
    record.begin("floors", "About.")
    record.add("floors", {"value": 1})
    record.content["parts"]["floors"]["date"] = "2001-01-01 00:00 UTC"
    record.write()
    again = Record(tmp_path / "page.md", ABOUT, False)
    again.begin("masks", "About.")
    again.add("masks", {"value": 2})
    assert list(again.content["parts"]) == ["floors", "masks"]
    assert render(again.content).count("Measured 2001-01-01 00:00 UTC.") == 1
    assert not Record(tmp_path / "page.md", ABOUT | {"driver": "2"}, False).content["parts"]
    assert not Record(tmp_path / "page.md", ABOUT, True).content["parts"]


def test_masks_that_differ():
    masks = [torch.ones(10), torch.ones(20_000)]
    other = [torch.ones(10), torch.ones(20_000)]
    other[1][:11] = 0
    row = pruning.compared(masks, other)
    assert not row["totals equal"] and not row["within tolerance"]
    assert row["difference of the worst layer"] == 11 and row["allowed there"] == 10
    other[1][0], other[0][0] = 1, 0
    row = pruning.compared(masks, other)
    assert row["within tolerance"] and row["difference of the worst layer"] == 10
    assert row["share of equal entries"] == pytest.approx(1 - 11 / 20_010)


def test_a_page_of_a_card_is_what_its_json_says():
    page = program.PAGE
    if not page.exists():
        pytest.skip("no card has been measured yet")
    content = read_json(page.with_suffix(".json"))
    assert not content["dry"] and page.read_text() == render(content) and json.dumps(content)
