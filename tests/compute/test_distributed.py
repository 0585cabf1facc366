"""One network on two processes: what they compute together, who decides and writes, how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import PROJECT
from forked import Forked
from rank_jobs import JOBS, LIKE_ONE, OWN, SMALL, job
from torch import nn

import main
from Models.masking import add_masks
from Utils.compute import processes


def together(folder, name, jobs):
    """Run jobs (see `ranks.py`) in `folder` as two processes; returns their exit codes."""
    file = folder / f"{name}.jobs"
    file.write_text(json.dumps(jobs))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with contextlib.chdir(folder):
        running = [Forked(PROJECT / "tests/ranks.py", [rank, "2", file], environment) for rank in "01"]
    try:
        return [process.wait(120) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have run everything that the tests look at; in the first job one of them was killed."""
    path = tmp_path_factory.mktemp("ranks")
    (path / "own.py").write_text(OWN)
    assert together(path, "first", [["killed", [*SMALL, *JOBS["again"]], 3]]) == [0, -signal.SIGKILL]
    killed = json.loads((path / "Results/data/singleshot/killed/summary.json").read_text())
    (path / "killed.reason").write_text(killed["reason"])
    assert together(path, "second", [[name, job(name), None] for name in JOBS]) == [0, 0]
    return path


def ended(folder, name):
    return [SimpleNamespace(**json.loads((folder / f"{name}.{rank}.json").read_text())) for rank in (0, 1)]


def run_folder(folder, name, experiment="singleshot"):
    return folder / "Results/data" / experiment / name


def state(folder, file="model.pt"):
    return torch.load(folder / file, weights_only=True)


@pytest.mark.parametrize("name", LIKE_ONE)
def test_two_processes_compute_what_one_does(folder, tmp_path, monkeypatch, capsys, name):
    """Test sets of 13 and 3 images, batches of 16 and of one, and a last batch of 17."""
    monkeypatch.chdir(tmp_path)
    assert main.main(job(name)) == 0
    first, second = ended(folder, name)
    assert (first.status, second.status, second.out, first.err + second.err) == (0, 0, "", "")
    where = (name, "singleshot") if name != "levels" else ("levels/level=2", "multishot")
    one, two = run_folder(tmp_path, *where), run_folder(folder, *where)
    assert sorted({*os.listdir(one)} - {"log.txt"}) == sorted(os.listdir(two))
    for file in ("pre-train.csv", "post-train.csv"):
        tables = [pd.read_csv(path / file).drop(columns="seconds") for path in (one, two)]
        pd.testing.assert_frame_equal(*tables, rtol=1e-4)
        assert tables[0]["top1_accuracy"].equals(tables[1]["top1_accuracy"])
    for name, tensor in state(one).items():
        assert torch.equal(tensor, state(two)[name]) if name.endswith("_mask") else torch.allclose(tensor, state(two)[name], 1e-3, 1e-5)
    assert "2 processes" in json.loads((two / "args.json").read_text())["device"]
    sums = [[line for line in out.splitlines() if "Sparsity:" in line] for out in (capsys.readouterr().out, first.out)]
    assert "levels" in where[0] or (sums[0] == sums[1] and len(sums[0]) == 2)  # a grid alone keeps those in the cell's log


@pytest.mark.parametrize("name", ["fc", "levels", "held", "rigl", "set", "batchnorm", "whole", "again"])
def test_all_processes_end_with_the_same_network(folder, name):
    """Drawn differently in each process, with parameters that are used in some steps of some processes, or never."""
    first, second = ended(folder, name)
    assert first.status == second.status == 0 and first.states and first.states == second.states


@pytest.mark.parametrize("name", ["rigl", "set"])
def test_masks_that_move_are_the_same_in_all_processes(folder, name):
    """Both processes end with them (above); each layer keeps its count, and the masks did move."""
    rows = pd.read_csv(run_folder(folder, name) / "updates.csv")
    assert (rows["grown"] == rows["dropped"]).all() and rows["grown"].sum() > 0
    saved = state(run_folder(folder, name))
    kept = [int(t.sum()) for k, t in saved.items() if k.endswith("weight_mask")]
    assert kept == rows.groupby("module")["active"].first().tolist()


def test_statistics_are_those_of_the_first_process(folder):
    first, second = ended(folder, "batchnorm")
    assert len(first.before) == 2 and all(a != b for a, b in zip(first.before, second.before, strict=True))
    assert first.before == first.after == second.after
    saved = state(run_folder(folder, "batchnorm"))
    assert {int(t) for k, t in saved.items() if k.endswith("num_batches_tracked")} == {2 * 4}


def test_a_run_that_lost_a_process_goes_on_as_if_it_had_not(folder):
    (stopped,) = (json.loads(p.read_text()) for p in folder.glob("killed.*.json"))
    assert stopped["status"] == 1 and stopped["err"] == "main.py: error: another process of this run ended without a word\n"
    assert (folder / "killed.reason").read_text() in stopped["err"]
    first, second = ended(folder, "again")
    assert "Going on after epoch 1 of 3" in first.out and second.out == ""
    whole, again = folder / "elsewhere/singleshot/whole", run_folder(folder, "killed")
    for file in ("pre-train.csv", "post-train.csv"):
        a, b = (pd.read_csv(path / file).drop(columns="seconds") for path in (whole, again))
        assert a.equals(b)
    assert all(torch.equal(t, state(again)[k]) for k, t in state(whole).items())
    steps = [state(path, "optimizer.pt")["state"] for path in (whole, again)]
    assert steps[0].keys() == steps[1].keys() and all(torch.equal(steps[0][k]["momentum_buffer"], v["momentum_buffer"])
                                                      for k, v in steps[1].items())  # fmt: skip


def test_a_finished_run_is_printed_once(folder):
    first, second = ended(folder, "finished")
    assert first.status == second.status == 0 and second.out == second.err == first.err == ""
    assert first.out.startswith("Already done")


@pytest.mark.parametrize(("name", "status", "words"), [
    ("refused", 2, "holds another run (lr 0.05 there, 0.1 asked)"), ("diverged", 1, "diverged at epoch 1 of pre_train"),
    ("empty", 2, "--compression 20 keeps none"),
    ("failed", 1, "--model own.py:fails failed: ValueError: no more"),
])  # fmt: skip
def test_all_end_with_one_status_and_one_line(folder, name, status, words):
    first, second = ended(folder, name)
    assert first.status == second.status == status
    lines = (first.err + second.err).splitlines()
    assert len(lines) == 1 and words in lines[0] and second.out == ""
    assert bool(first.err) == (name != "failed")  # only the second one knows why


def test_failures_of_any_process_are_in_the_folder(folder):
    assert not run_folder(folder, "refused").exists() and not run_folder(folder, "empty").exists()
    for name, words in (("failed", "process 1: --model own.py:fails failed: ValueError: no more"), ("diverged", "diverged at epoch 1")):
        summary = json.loads((run_folder(folder, name) / "summary.json").read_text())
        assert summary["status"] == "failed" and words in summary["reason"]


def test_masks_that_differ_are_noticed(monkeypatch):
    """After rank 0's were sent to all they cannot, unless sending them went wrong."""
    model = nn.Linear(2, 2)
    add_masks(model)

    def gather(found, own):
        found[:] = [own, b"other"]

    monkeypatch.setattr(processes, "share", lambda: (0, 2))
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_: None)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(AssertionError, match="masks of the processes differ"):
        processes.parallel(model)


def test_the_first_process_alone_writes_events(folder):
    assert len(list((folder / "Results/data/singleshot/batchnorm/tensorboard").iterdir())) == 1
