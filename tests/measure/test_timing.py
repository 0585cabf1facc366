"""Inference times: how they are taken, and where they are written."""

from __future__ import annotations

import json

import pandas as pd
import pytest
import torch
from test_measurements import CPU, FOLDER, NET

from Utils.base.errors import RunFailed
from Utils.grid.grid_folder import state_of
from Utils.grid.grid_table import update_cell
from Utils.measure import inference_time
from Utils.measure.inference_time import interleaved, paired_ratio, quartiles, whole_passes
from Utils.runs import outputs
from Utils.runs.manifest import OwnFiles


def noted(order):
    return {name: lambda x, name=name: order.append(name) for name in "ab"}


def test_calls_are_timed_in_turn_and_back_after_a_warm_up():
    """A machine that is slower at every other call is so for both."""
    order = []
    laps = interleaved(calls := noted(order), torch.zeros(1), CPU, 30)
    assert order == (["a", "b", "b", "a"] * 3)[: 2 * inference_time.WARM_UP] + ["a", "b", "b", "a"] * 15 and all(len(laps[name]) == 30 and min(laps[name]) >= 0 for name in calls)


def test_whole_passes_are_repeated_while_they_are_cheap(monkeypatch):
    order = []
    images = [torch.zeros(1)] * 2
    totals = whole_passes(noted(order), lambda: iter(images), CPU)
    assert order == list("abba" "baab" "abba" "baab" "abba") and [len(t) for t in totals.values()] == [5, 5]
    seconds = iter(range(0, 1000, 3))  # of a slow machine: 6 s for a batch of both, each pass begins 3 s late
    monkeypatch.setattr(inference_time.time, "perf_counter", lambda: next(seconds))
    assert whole_passes(noted([]), lambda: iter(images[:1]), CPU) == {"a": [3.0], "b": [3.0]}


def test_quartiles():
    assert quartiles([4.0, 1.0, 3.0, 2.0, 5.0]) == {"median": 3.0, "q1": 2.0, "q3": 4.0}


def test_a_ratio_is_that_of_each_turn_by_itself():
    """A machine that becomes ten times slower on the way changes no ratio; the ratio of the medians would be 1.5 to 15."""
    assert paired_ratio([2.0, 4.0, 30.0, 60.0], [2.0, 2.0, 20.0, 20.0]) == {"median": 1.75, "q1": 1.375, "q3": 2.25}


def test_a_measurement_with_a_limit_ends_with_a_whole_turn_and_back(monkeypatch):
    seconds = iter(range(10000))  # each look at the clock is a second
    monkeypatch.setattr(inference_time.time, "perf_counter", lambda: next(seconds))
    for enough, count in ((0.5, inference_time.LEAST), (30.0, 8), (1e9, 30)):
        order = []
        laps = interleaved(noted(order), torch.zeros(1), CPU, 30, enough)
        assert [len(own) for own in laps.values()] == [count, count] and order[-2:] == ["b", "a"], enough


def test_every_run_has_inference_times_beside_the_dense_network(command):
    assert "Inference, batches of 12" in command(*NET).out
    times = json.loads((FOLDER / "summary.json").read_text())["inference"]
    assert times["repeats"] >= 30 and times["total_repeats"] == 5 and "jobs" not in times and times["batch_size"] == 12 and times["precision"] == "float32" and "thread" in times["device"]
    for prefix in ("", "dense_"):
        laps = times[f"{prefix}batch_seconds"]
        assert 0 < laps["q1"] <= laps["median"] <= laps["q3"] and times[f"{prefix}total_seconds"] > 0
    assert 0 < times["ratio"]["q1"] <= times["ratio"]["median"] <= times["ratio"]["q3"] and set(times["load"]) == {"start", "end"}
    before = (FOLDER / "summary.json").read_bytes()
    done = command("--experiment", "time", "--run", FOLDER, "--test-batch-size", "5")
    again = json.loads((FOLDER / "time.json").read_text())
    assert done.status == 0 and again["batch_size"] == 5 and again.keys() == times.keys() | {'checksum'}
    assert command("--experiment", "time", "--run", FOLDER, "--test-batch-size", "256").status == 0  # given, though the default
    assert json.loads((FOLDER / "time.json").read_text())["batch_size"] == 12
    assert (FOLDER / "summary.json").read_bytes() == before and "Already done" in command(*NET).out


def test_a_run_is_measured_again_with_its_own_batches(command):
    assert command(*NET, "--test-batch-size", "7").status == 0
    for words, size in ((), 7), (("--test-batch-size", "256"), 12), (("--test-batch-size", "5"), 5):
        assert command("--experiment", "time", "--run", FOLDER, *words).status == 0
        assert json.loads((FOLDER / "time.json").read_text())["batch_size"] == size


def test_a_grid_has_the_new_times_at_once_and_nothing_else_changed(command):
    words = [*NET[:4], "--pruner-list", "mag", "snip", "--post-epochs", "1", "--compression-list", "0.10", "--expid", "g"]
    assert command(*words, "--save-trace").status == 0
    grid = FOLDER.parent / "g"
    before = pd.read_csv(grid / "grid.csv", dtype=str, keep_default_na=False)
    cell = grid / before["cell"][0]
    trace = json.loads((cell / "summary.json").read_text())["trace"]
    assert float(before["trace_convolution_share_of_step"][0]) == trace["convolution_share_of_step"]
    assert trace["convolution_ms"] == pytest.approx(trace["convolution_share_of_busy"] * trace["busy_ms"])
    assert 0 < trace["convolution_ms"] < trace["busy_ms"] <= trace["wall_ms"] and trace["busy_share_of_step"] <= 1
    for folder in (cell, grid):  # one cell, then all
        assert command("--experiment", "time", "--run", folder, "--test-batch-size", "5").status == 0
        after = pd.read_csv(grid / "grid.csv", dtype=str, keep_default_na=False)
        measured = [c for c in before if c.startswith("inference_")]
        assert after.drop(columns=measured).equals(before.drop(columns=measured)) and list(after) == list(before)
        times = json.loads((cell / "time.json").read_text())
        row = after.iloc[0]
        assert row["inference_batch_size"] == "5" and row["inference_batch_seconds_median"] == str(times["batch_seconds"]["median"])
        assert after["inference_batch_size"][1] == ("12" if folder == cell else "5")
    text = (grid / "grid.csv").read_bytes()
    assert command(*words, "--save-trace").status == 0 and (grid / "grid.csv").read_bytes() == text


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"median": 1}'])
def test_damaged_new_times_do_not_fail_a_finished_cell(tmp_path, capsys, content):
    (tmp_path / "summary.json").write_text('{"status": "done", "inference": {"total_seconds": 3}}')
    (tmp_path / "time.json").write_text(content)
    state = state_of(tmp_path)
    assert (state.status, state.summary["inference"]) == ("done", {"total_seconds": 3})
    (note,) = state.notes
    assert note.startswith(f"NOTE: {tmp_path / 'time.json'}") and state.reason == "" and capsys.readouterr().out == ""


def test_a_row_is_changed_in_place(tmp_path, capsys):
    OwnFiles(tmp_path).record(["grid.csv", "grid.csv.sha256"])
    (tmp_path / "grid.csv").write_text('cell,x,inference_a,inference_jobs,reason\nc,0.10,1,2,"a, b"\nd,NA,7,2,\n')
    update_cell(tmp_path / "c", "inference", {"a": 0.25, "q": {"median": None}})
    assert (tmp_path / "grid.csv").read_text() == 'cell,x,inference_a,inference_jobs,inference_q_median,reason\nc,0.10,0.25,,,"a, b"\nd,NA,7,2,,\n'
    update_cell(tmp_path / "e", "inference", {"a": 1})
    update_cell(tmp_path, "inference", {"a": 1})
    (tmp_path / "grid.csv").write_text("")
    update_cell(tmp_path / "c", "inference", {"a": 1})
    assert "NOTE: " in capsys.readouterr().out and (tmp_path / "grid.csv").read_text() == ""


def test_times_that_other_cells_disturbed_say_so(command, quick_workers):
    words = [*NET[:2], "--pruner-list", "rand", "mag", "--post-epochs", "1", "--jobs", "2", "--expid", "g"]
    assert command(*words).status == 0
    (cell,) = (FOLDER.parent / "g").glob("pruner=mag*")
    assert json.loads((cell / "summary.json").read_text())["inference"]["jobs"] == 2
    assert "measured while up to 2 cells ran at once" in (cell / "log.txt").read_text()
    assert command("--experiment", "time", "--run", cell).status == 0
    assert "jobs" not in json.loads((cell / "time.json").read_text())
    left = pd.read_csv(FOLDER.parent / "g" / "grid.csv").set_index("cell")["inference_jobs"]
    assert left.isna().to_dict() == {name: name == cell.name for name in left.index} and len(left) > 1


def test_measuring_changes_no_number(command, monkeypatch):
    assert command(*NET, "--expid", "a").status == 0
    monkeypatch.setattr(outputs, "inference_times", lambda *_: {})
    assert command(*NET, "--expid", "b").status == 0
    a, b = (torch.load(f"Results/data/singleshot/{name}/model.pt", weights_only=True) for name in "ab")
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("words", [(), ("--experiment", "multishot", "--pre-epochs", "1", "--level-list", "2")])
def test_a_measurement_that_fails_leaves_the_trained_network(command, monkeypatch, words):
    """The profiler may record no kernels, and the dense network beside it may not fit into the device's memory."""

    def lost(*_):
        raise RunFailed("no kernels")

    run = FOLDER.parent.parent / "multishot" / "x" / "level=2" if words else FOLDER
    with monkeypatch.context() as broken:
        broken.setattr(outputs, "write_trace", lost)
        assert command(*NET, *words, "--save-trace").status == 1
    assert json.loads((run / "summary.json").read_text())["status"] == "failed"
    kept = torch.load(run / "model.pt", weights_only=True)
    assert command("--experiment", "time", "--run", run).status == 0 and len(pd.read_csv(run / "post-train.csv")) == 2
    assert command(*NET, *words, "--save-trace").status == 0
    again = torch.load(run / "model.pt", weights_only=True)
    assert all(torch.equal(kept[name], again[name]) for name in again)
