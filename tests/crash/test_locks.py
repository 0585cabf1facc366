"""Two processes on one folder, one cache, one dataset: one at a time, and the dead hold nothing."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import PROJECT, TINY

from tests.crash.numbers import differences, numbers
from Utils.base.locks import Lock
from Utils.base.tensor_files import seal, unseal
from Utils.data import cifar
from Utils.data.download import folder_lock
from Utils.runs import run_files
from Utils.runs.manifest import OwnFiles

sys.path.insert(0, str(PROJECT / "tests"))
from test_cifar import make_cifar

fork = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork")


def count(folder, times):
    for _ in range(times):
        lock = Lock(folder / ".lock")
        assert lock.take(60)
        number = int((folder / "count").read_text())
        time.sleep(0.001)
        (folder / "count").write_text(str(number + 1))
        lock.leave()  # removes the file that others are waiting for


def test_a_lock_has_one_holder_though_its_file_is_removed(tmp_path):
    (tmp_path / "count").write_text("0")
    processes = [fork.Process(target=count, args=(tmp_path, 10)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "40" and not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("spoil", ["exchanged", "of another kind", "empty"])
def test_a_cache_that_is_not_what_its_name_says_is_made_again(spoil, command):
    """Files renamed for each other, or of another version, though their checksums are right."""
    words = [*TINY, "--pre-epochs", "2", "--post-epochs", "1"]
    cache = Path("Results/data/dense-networks")
    assert command(*words, "--seed", "2", "--expid", "other").status == 0
    (other,) = cache.glob("*.bin")
    assert command(*words, "--expid", "first").status == 0
    (own,) = set(cache.glob("*.bin")) - {other}
    if spoil == "exchanged":
        own.write_bytes(other.read_bytes())
    else:
        seal(own, {"rows": []} if spoil == "of another kind" else {})
    assert command(*words, "--expid", "second").status == 0
    first, second = (numbers(Path("Results/data/singleshot", name)) for name in ("first", "second"))
    assert not differences(first, second) and unseal(own, "model", "rows") is not None


@pytest.mark.parametrize("experiment", ["time", "histogram", "saliency", "compact"])
def test_what_a_killed_measurement_left_is_removed(experiment, finished, command, quick):
    """By the same command, or by that of the run itself; files of others stay."""
    finished(*TINY, "--pruner", "rand", "--compression", "0.1", "--expid", "x")
    run = Path("Results/data/singleshot/x")
    ours, theirs = run / f".{experiment}.json.4711.half", run / ".mine.4711.half"
    OwnFiles(run).record([f"{experiment}.json"])  # as it had begun to
    theirs.touch()
    for words in (["--experiment", experiment, "--run", run], [*TINY, "--pruner", "rand", "--compression", "0.1", "--expid", "x"]):
        ours.touch()
        (run / ".lock").touch()
        assert command(*words).status == 0, words
        assert not ours.exists() and theirs.exists() and not (run / ".lock").exists()


def test_a_measurement_waits_for_the_lock(command, monkeypatch):
    monkeypatch.setattr(run_files, "PATIENCE", 0.1)
    assert command(*TINY, "--expid", "x").status == 0
    lock = Lock(Path("Results/data/singleshot/x/.lock"))
    assert lock.take()
    done = command("--experiment", "time", "--run", "Results/data/singleshot/x")
    lock.leave()
    assert done.status == 1 and "another process is working there" in done.err


def read_set(folder, done):
    torch.set_num_threads(1)
    from Utils.data.open_set import open_dataset

    open_dataset("cifar10", folder, download=False).load()
    (folder / done).touch()


def test_an_archive_is_unpacked_by_one_process(tmp_path, monkeypatch):
    """The second waits for the lock, and takes what is there then; a dead owner does not hold it."""
    archive = make_cifar(tmp_path, monkeypatch)
    for old in tmp_path.glob("cifar-10-batches-py/*"):
        old.unlink()
    held, dying = fork.Event(), fork.Event()
    holder = fork.Process(target=lambda: (folder_lock(tmp_path).acquire(), held.set(), dying.wait(60), os._exit(9)))
    holder.start()
    assert held.wait(60)
    readers = [fork.Process(target=read_set, args=(tmp_path, f"done{i}")) for i in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(0.3)  # in vain
    assert not list(tmp_path.glob("done*")) and [reader.exitcode for reader in readers] == [None, None]
    dying.set()
    for process in (holder, *readers):
        process.join(60)
    assert [process.exitcode for process in (holder, *readers)] == [9, 0, 0] and archive.exists()
    assert cifar.ARCHIVES["cifar10"][1] == archive.name


def test_what_a_kill_at_the_very_end_left_is_removed(command):
    """The run, the grid and the dense network were whole, their locks and checkpoints still there."""
    words = [*TINY, "--pre-epochs", "1", "--expid", "g", "--seed-list", "1", "--pruner-list", "rand"]
    assert command(*words).status == 0
    grid = Path("Results/data/singleshot/g")
    cell = grid / "pruner=rand,seed=1"
    dense = next(Path("Results/data/dense-networks").glob("*.bin"))
    left = [cell / ".lock", cell / "checkpoint.bin", grid / ".lock", grid / ".grid.csv.123.half", grid / ".grid.csv.sha256.123.half", grid / ".args.json.123.half"]
    cached = [dense.with_suffix(".lock"), dense.with_suffix(".checkpoint")]
    for path in (*left, *cached):
        path.touch()
    OwnFiles(cell).record(["checkpoint.bin"])
    summary = (cell / "summary.json").stat().st_mtime_ns
    assert command(*words).status == 0
    assert not [path for path in left if path.exists()] and (cell / "summary.json").stat().st_mtime_ns == summary
    done = command(*TINY, "--pre-epochs", "1", "--seed", "1", "--expid", "y", "--compression", "0.5")  # takes the dense network
    assert done.status == 0 and not [path for path in cached if path.exists()]
