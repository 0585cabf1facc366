"""Runs that were killed go on from their last checkpoint and end with the numbers of a run that was not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from conftest import PROJECT
from killed import killed

from tests.crash.numbers import numbers, same
from Utils.base.locks import Lock, is_locked
from Utils.base.tensor_files import seal, unseal
from Utils.runs import stages

CONV = ["--dataset", "synthetic:3x8x8:3:60", "--model", "resnet20", "--pruner", "snip", "--compression", "0.5", "--optimizer", "momentum",
        "--lr-drops", "2", "--pre-epochs", "3", "--post-epochs", "3", "--checkpoint-every", "1", "--augment", "crop-flip"]  # fmt: skip


def test_a_killed_run_ends_with_the_same_numbers(command):
    """Killed in dense training, then twice after pruning; each time the same command goes on."""
    assert command(*CONV, "--expid", "whole", "--result-dir", "elsewhere").status == 0
    words = [*CONV, "--expid", "broken"]
    folder = Path("Results/data/singleshot/broken")
    killed(words, 2)
    assert [p.suffix for p in sorted(Path("Results/data/dense-networks").iterdir())] == [".checkpoint", ".lock"]
    killed(words, 2)  # the third dense epoch, and one after pruning
    assert (folder / "checkpoint.bin").exists() and pd.read_csv(folder / "post-train.csv")["epoch"].tolist() == [0, 1]
    killed(words, 1)
    done = command(*words)
    assert done.status == 0 and "Going on after epoch 2 of 3" in done.out
    same(numbers(Path("elsewhere/singleshot/whole")), numbers(folder))
    assert not [p for p in Path("Results").rglob("*") if p.name.startswith(".") or p.suffix in (".checkpoint", ".lock")]
    assert not (folder / "checkpoint.bin").exists() and "Already done" in command(*words).out


def test_killed_multishot_goes_on(command):
    words = ["--experiment", "multishot", "--dataset", "synthetic:1x8x8:3:60", "--pruner", "mag", "--compression", "1", "--level-list", "3",
             "--pre-epochs", "3", "--post-epochs", "3", "--rewind-epoch", "1", "--checkpoint-every", "1", "--expid", "m"]  # fmt: skip
    assert command(*words, "--result-dir", "elsewhere").status == 0
    for epochs in (2, 5, 3):  # in the dense training, in a level, in a later one
        killed(words, epochs)
    assert command(*words).status == 0
    for name in ("pruner=dense", "level=3"):
        same(numbers(Path("elsewhere/multishot/m", name)), numbers(Path("Results/data/multishot/m", name)))


def test_a_damaged_checkpoint_is_not_gone_on_from(command):
    words = [*CONV, "--model", "fc", "--pre-epochs", "0", "--expid", "x"]
    folder = Path("Results/data/singleshot/x")
    for damaged, epochs in (("checkpoint.bin", 2), ("compression.csv", 1)):
        killed(words, epochs)
        content = bytearray((folder / damaged).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / damaged).write_bytes(content)
        killed(words, 1)  # had it gone on, one epoch would have been left
    assert "Going on" in command(*words).out


def test_a_kill_between_the_rows_and_the_checkpoint(command):
    """The rows of the folder may be ahead of the checkpoint: that must not cost the checkpoint."""
    words = [*CONV, "--model", "fc", "--pre-epochs", "0", "--expid", "x"]
    killed(words, 2)
    rows = Path("Results/data/singleshot/x/post-train.csv")
    rows.write_text(rows.read_text() + rows.read_text().splitlines()[-1] + "\n")
    assert "Going on after epoch 2" in command(*words).out


def test_checkpoint_every(monkeypatch):
    """Each epoch by default, unless it takes under 2 s: then once 10 s have passed."""
    class Slow:
        """A store that takes `seconds` for each checkpoint."""

        path = None

        def __init__(self, seconds):
            self.seconds, self.steps = seconds, []

        def resume(self):
            return None

        def write_checkpoint(self, state):
            self.steps.append(state["half"]["s"])
            clock[0] += self.seconds

    def due(every, seconds, writing=0.0):
        clock[0], store = 0.0, Slow(writing)
        keep = stages.Stages(store, every).keeper("s")
        for step, duration in enumerate(seconds, 1):
            clock[0] += duration
            keep(step, lambda step=step: step)
        return store.steps

    clock = [0.0]
    monkeypatch.setattr(stages.time, "monotonic", lambda: clock[0])
    assert due(None, [2, 2, 1, 1, 3]) == [1, 2, 5]
    assert due(None, [1] * 25) == [10, 20]
    assert due(3, [5] * 7) == [3, 6] and due(0, [50] * 3) == []
    assert due(None, [2.0] + [0.125] * 49, writing=2.5) == [1]  # the writing is no part of the next step
    assert due(None, [1] * 25, writing=5) == [10, 20]  # nor of the ten seconds


def test_sealed_states(tmp_path):
    state = {"a": torch.arange(5.0), "b": [1, None, "x", 2.5], "c": {"d": torch.ones(2, 2, dtype=torch.bool)}}
    path = tmp_path / "deep" / "state.bin"
    assert unseal(path) is None
    seal(path, state)
    back = unseal(path)
    assert torch.equal(back["a"], state["a"]) and back["b"] == state["b"] and back["c"]["d"].all()
    whole = path.read_bytes()
    for place in (0, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert unseal(path) is None
    path.write_bytes(whole[: len(whole) // 2])
    assert unseal(path) is None


def test_a_lock_is_held_by_the_living_only(tmp_path):
    path = tmp_path / ".lock"
    code = f"import os, sys; sys.path.insert(0, {str(PROJECT)!r}); from Utils.base.locks import Lock; from pathlib import Path\n" \
           f"lock = Lock(Path({str(path)!r})); assert lock.take(5); print('held', flush=True); sys.stdin.read(); os._exit(9)"  # fmt: skip
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert is_locked(path) and not Lock(path).take(0.3)
    holder.stdin.close()
    assert holder.wait(20) == 9 and not is_locked(path)
    lock = Lock(path)
    assert lock.take(0)
    lock.leave()
    assert not path.exists()


def test_two_processes_do_not_write_into_one_folder(command, refused):
    words = ["--dataset", "synthetic:1x8x8:3:60", "--post-epochs", "1", "--expid", "x"]
    lock = Lock(Path("Results/data/singleshot/x/.lock"))
    assert lock.take(0)
    done = command(*words)
    assert done.status == 2 and "another process is working there" in done.err
    lock.leave()
    assert command(*words).status == 0


def test_dense_training_is_done_once(command):
    """All cells of a grid and later grids share it; what another recipe needs is trained anew."""
    base = ["--dataset", "synthetic:1x8x8:3:60", "--pre-epochs", "2", "--post-epochs", "1"]
    grid = [*base, "--pruner-list", "mag", "snip", "--compression-list", "0.5", "1"]
    assert command(*grid, "--expid", "a").status == 0
    networks = {p: p.stat().st_mtime_ns for p in Path("Results/data/dense-networks").iterdir()}
    assert len(networks) == 1
    assert command(*grid[:-1], "2", "--expid", "b").status == 0
    assert {p: p.stat().st_mtime_ns for p in Path("Results/data/dense-networks").iterdir()} == networks
    assert command(*base, "--seed", "2").status == 0 and command(*base, "--lr", "0.01").status == 0
    assert len(list(Path("Results/data/dense-networks").iterdir())) == 3
    dense = [torch.load(p, weights_only=True) for p in Path("Results/data/singleshot/a").glob("*/dense.pt")]
    assert len(dense) == 5 and all(torch.equal(dense[0][k], d[k]) for d in dense for k in d)
