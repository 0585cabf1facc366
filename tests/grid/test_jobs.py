"""Grids in several processes: failures, workers that die, grids that are killed, cells of another process."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import PROJECT
from forked import Forked

from Utils.base.locks import Lock
from Utils.grid.workers import Workers

BASE = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "1", "--prune-epochs", "2", "--expid", "g"]
GRID = Path("Results/data/singleshot/g")


def table():
    return pd.read_csv(GRID / "grid.csv")


FAILS = """
from torch import nn
import os, signal
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.flat, self.a, self.b = nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, classes)
    def forward(self, x):
        if self.training and {when}:
            {what}
        return self.b(self.a(self.flat(x)).relu())
def net(shape, classes):
    return Net(classes)
"""
SPARSE = "float(self.a.weight_mask.mean()) < 0.2"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failed_cell_is_listed_and_the_others_go_on(command, quick_workers, jobs):
    Path("mine.py").write_text(FAILS.format(when=SPARSE, what="raise ValueError('too thin')"))
    words = [*BASE, "--model", "mine.py:net", "--compression-list", "0.1", "1", "0.2", "--jobs", jobs]
    words.remove("fc"), words.remove("--model")
    done = command(*words)
    assert done.status == 1 and done.err.strip().splitlines()[-1] == "main.py: error: 1 of 4 cells failed: compression=1"
    assert "FAILED compression=1" in done.out and "too thin" in done.out and "3 done" in done.out
    frame = table().set_index("cell")
    assert frame["status"].to_dict() == {"pruner=dense": "done", "compression=0.1": "done", "compression=1": "failed", "compression=0.2": "done"}
    assert "too thin" in frame["reason"]["compression=1"]
    assert command(*words, "--dry-run").out.count("done") == 4


def test_a_worker_that_dies_loses_its_cell(command, quick_workers):
    """As when the system runs out of memory. The grid goes on; the same command tries the cell again."""
    Path("mine.py").write_text(FAILS.format(when=SPARSE, what="os.kill(os.getpid(), signal.SIGKILL)"))
    words = [*BASE[:2], *BASE[4:], "--model", "mine.py:net", "--compression-list", "1", "0.1", "0.2", "--jobs", "2"]
    done = command(*words)
    assert done.status == 1 and "its worker process died (signal 9)" in done.out
    assert table().set_index("cell")["status"].to_dict() == {
        "pruner=dense": "done", "compression=1": "failed", "compression=0.1": "done", "compression=0.2": "done"}  # fmt: skip
    assert not list(GRID.rglob(".*")) and "Creating" in (GRID / "compression=1" / "log.txt").read_text()


def test_cells_whose_worker_died_run_again_one_by_one(command, quick_workers):
    """Of several it is not known which one is to blame."""
    Path("mine.py").write_text(FAILS.format(when=SPARSE, what="os.kill(os.getpid(), signal.SIGKILL)"))
    words = [*BASE[:2], *BASE[4:], "--model", "mine.py:net", "--compression-list", "1", "0.1", "0.2", "--jobs", "2", "--stack", "2"]
    done = command(*words)
    assert done.status == 1 and "its worker process died (signal 9)" in done.out
    assert table().set_index("cell")["status"].to_dict() == {
        "pruner=dense": "done", "compression=1": "failed", "compression=0.1": "done", "compression=0.2": "done"}  # fmt: skip


def test_several_processes_share_the_cores(command, monkeypatch):
    """By --jobs alone, not by how many cells are left. `runs/test_determinism.py` compares their numbers with those of one process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    words = [*BASE, "--train-batch-size", "2000", "--pruner-list", "rand", "mag"]  # small batches would get one thread in any case
    assert command(*words).status == 0
    shutil.rmtree(GRID / "pruner=mag")
    assert command(*words, "--jobs", "2").status == 0
    assert json.loads((GRID / "pruner=mag" / "args.json").read_text())["device"].endswith(", 1 thread")


def started(words):
    """`main.py` in a session of its own."""
    return Forked(PROJECT / "main.py", words)


LONG = [*BASE, "--post-epochs", "100000", "--checkpoint-every", "50", "--seed-list", "1", "2", "--pruner-list", "rand", "--jobs", "2"]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def session_members(process):
    """Processes of the session that `process` began, by the kernel's word."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process.pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_workers_end_with_their_grid(number, tmp_path, monkeypatch):
    """Whatever ends it: nothing goes on in the background, checkpoints stand, no half-written file stays."""
    monkeypatch.chdir(tmp_path)
    process = started(LONG)
    try:
        wait_for(lambda: len(list(GRID.glob("*/checkpoint.bin"))) == 2)
        os.kill(process.pid, number)
        _out, err = process.communicate(timeout=20)
        wait_for(lambda: not session_members(process), 20)
    finally:
        for member in session_members(process):
            os.kill(member, signal.SIGKILL)
    if number != signal.SIGKILL:
        assert process.returncode == (130 if number == signal.SIGINT else 143)
        assert err.strip().splitlines()[-1].startswith("main.py: interrupted") and "Traceback" not in err
        assert not [p for p in GRID.rglob(".*") if p.name != ".lock"]
    assert len(list(GRID.glob("*/checkpoint.bin"))) == 2


def test_cells_of_another_process_are_waited_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lock = Lock(GRID / "seed=1" / ".lock")
    assert lock.take(0)
    process = started([*BASE, "--seed-list", "1", "2"])
    wait_for(lambda: (GRID / "seed=2" / "summary.json").exists())
    wait_for(lambda: set(table()["status"][table()["cell"].str.endswith("seed=1")]) >= {"running"})
    assert not (GRID / "seed=1" / "summary.json").exists()
    lock.leave()
    out, _err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Waiting for 1 cells" in out and "4 done" in out


def test_a_signal_while_a_worker_starts_leaves_no_process(monkeypatch):
    @contextlib.contextmanager
    def signalled():
        yield
        raise KeyboardInterrupt

    monkeypatch.setattr("Utils.grid.workers._sigint_blocked", signalled)
    before = multiprocessing.active_children()
    with Workers(2) as workers, pytest.raises(KeyboardInterrupt):
        list(workers.run([None], lambda waiting, _: waiting[0]))
    assert multiprocessing.active_children() == before
