"""Where memory runs out a cell fails with the batch sizes in its reason, what it held is freed, and the grid goes on."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import PROJECT, TINY

from Utils.training import phase

CUDA = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
GRID = Path("Results/data/singleshot/g")


@pytest.fixture
def fail_once(monkeypatch):
    """A function that makes the second training of the process fail with an error; returns weak references to its network."""

    def install(error):
        seen, whole = [], phase.train_epoch

        def train_epoch(model, *rest, **more):
            seen.append(weakref.ref(model))
            if len(seen) == 2:
                raise error
            return whole(model, *rest, **more)

        monkeypatch.setattr(phase, "train_epoch", train_epoch)
        return seen

    return install


@pytest.mark.parametrize("error", [CUDA, CPU, MemoryError()], ids=["cuda", "cpu", "python"])
def test_a_cell_without_memory_fails_alone(command, fail_once, error):
    seen = fail_once(error)
    words = [*TINY, "--pruner-list", "rand", "mag", "--compression", "0.3", "--train-batch-size", "16", "--expid", "g"]
    done = command(*words)
    assert done.status == 1 and done.err.count("\n") == 1
    grid = pd.read_csv(GRID / "grid.csv").set_index("cell")
    assert grid["status"].tolist() == ["done", "failed", "done"]
    reason = grid["reason"].dropna().tolist()[0]
    assert reason.startswith("out of memory with") and "--train-batch-size 16" in reason and "--test-batch-size 256" in reason
    summary = json.loads((GRID / grid.index[1] / "summary.json").read_text())
    assert summary["status"] == "failed" and summary["reason"] == reason
    error.__traceback__ = None  # the test's own hold on the frames
    gc.collect()
    assert seen[1]() is None  # its network is gone
    assert command(*words).status == 0  # and the cell is tried again, with the numbers of a run that was not disturbed
    again = pd.read_csv(GRID / "grid.csv").set_index("cell")
    assert again["top1_last"].tolist()[::2] == grid["top1_last"].tolist()[::2] and set(again["status"]) == {"done"}


def test_what_does_not_fit_in_memory_before_the_first_cell_fails_in_one_line(command, monkeypatch):
    from Utils.data import synthetic

    def full(*_):
        raise CPU

    monkeypatch.setattr(synthetic, "make_synthetic", full)
    for words in ([*TINY, "--seed-list", "1", "2"], [*TINY, "--no-save"]):
        done = command(*words)
        assert done.status == 1 and done.err.count("\n") == 1 and "out of memory" in done.err, done


LIMITED = """
import resource, sys
import main
from Utils.grid import run
whole = run.run_cell
def limited(*given, **rest):
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (300 << 20), resource.RLIM_INFINITY))
    return whole(*given, **rest)
run.run_cell = limited
sys.exit(main.main(sys.argv[1:]))
"""
HUGE = """
from torch import nn
import torch
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 3)
    def forward(self, x):
        y = self.layer(x.flatten(1))
        return y + torch.zeros(len(x) << 24 if len(x) > 1 and self.training else 1).sum()
def net(shape, classes): return Net()
"""


def test_an_allocation_that_is_really_too_large(tmp_path):
    """The second network asks for more than the process may have; the third, in the same process, trains."""
    (tmp_path / "huge.py").write_text(HUGE)
    (tmp_path / "small.py").write_text(HUGE.replace("<< 24", "<< 0"))
    words = ["--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1", "--prune-epochs", "1", "--pruner", "mag"]
    words += ["--model-list", "fc", "huge.py:net", "small.py:net", "--expid", "g"]
    code = f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n{LIMITED}"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done
    grid = pd.read_csv(tmp_path / GRID / "grid.csv").set_index("model")
    assert set(grid.loc["fc", "status"]) == set(grid.loc["small.py:net", "status"]) == {"done"}
    assert grid.loc["huge.py:net", "reason"].str.startswith("out of memory with --train-batch-size 64").all()
