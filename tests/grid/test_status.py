"""`--experiment status`: counts, epochs, time left, folders that hold nothing; nothing is ever written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from Utils.base.json_files import read_json
from Utils.base.locks import Lock
from Utils.grid.grid_folder import State
from Utils.grid.status import RunProgress, groups_of, seconds_left
from Utils.options.table import of_step_time
from Utils.runs.progress import Progress, epochs_of, progress_of

BASE = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "3", "--prune-epochs", "1", "--expid", "g"]
WORDS = [*BASE, "--pruner-list", "rand", "mag", "--compression-list", "0.5", "--seed-list", "1", "2", "--for", "mag:pre-epochs=2"]
GRID = Path("Results/data/singleshot/g")
STATUS = ["--experiment", "status", "--run"]
HEADER = "epoch,train_loss,test_loss,top1_accuracy,top5_accuracy,lr,seconds\n"


def files():
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in Path.cwd().rglob("*") if p.is_file() and p.name != ".lock"}


def make(folder, done=None, model="fc", post=4, pre=0, rows=(), pre_rows=()):
    """A run folder: `done` None leaves it without a summary; rows are (epoch, top-1, seconds)."""
    folder.mkdir(parents=True)
    (folder / "args.json").write_text(json.dumps({"model": model, "dataset": "mnist", "pre_epochs": pre, "post_epochs": post, "experiment": "singleshot"}))
    for name, table in (("post-train", rows), ("pre-train", pre_rows)):
        (folder / f"{name}.csv").write_text(HEADER + "".join(f"{e},,1,{top1},50,,{s}\n" for e, top1, s in table))
    if done:
        (folder / "summary.json").write_text(json.dumps(done))


def test_a_grid_from_its_beginning_to_its_end(command):
    assert command(*WORDS).status == 0
    end = command(*STATUS, GRID)
    assert end.status == 0 and f"{GRID}: 6 done, 0 running, 0 pending, 0 failed\n" in end.out and "left" not in end.out
    assert end.out.count("3/3") == 4 and end.out.count("5/5") == 2
    shutil.rmtree(GRID / "pruner=mag,compression=0.5,seed=2")
    shutil.rmtree(GRID / "pruner=rand,compression=0.5,seed=1")
    cell = GRID / "pruner=rand,compression=0.5,seed=2"
    Path(cell, "post-train.csv").write_text("spoilt")
    before = files()
    half = command(*STATUS, GRID)
    assert half.status == 0 and "3 done, 0 running, 2 pending, 1 failed; about 00:0" in half.out and "by the epochs measured here" in half.out
    assert "0/5" in half.out and "0/3" in half.out and "missing or damaged" in half.out
    assert files() == before


def test_cells_whose_folders_were_exchanged_are_not_done(command):
    assert command(*WORDS).status == 0
    one, two = (GRID / f"pruner=rand,compression=0.5,seed={seed}" for seed in (1, 2))
    for old, new in ((one, GRID / "x"), (two, one), (GRID / "x", two)):
        old.rename(new)
    done = command(*STATUS, GRID)
    assert "4 done, 0 running, 0 pending, 2 failed" in done.out and f"{one} holds the cell {two.name}" in done.out


def test_the_numbers_of_a_single_run_by_hand(command):
    make(Path("one"), rows=[(0, 10, 0), (1, 60, 2), (2, 71.5, 4)])
    done = command(*STATUS, "one", "one/")
    header, row = done.out.splitlines()[1:]
    assert header.split() == ["cell", "status", "epochs", "top-1", "(%)", "seconds", "reason"] and row.split() == ["one", "pending", "2/4", "71.50", "6.00"]
    assert done.out.startswith("Single runs: 0 done, 0 running, 1 pending, 0 failed; about 00:06 left at 1 at a time")


def test_what_runs_divides_the_time_left(command):
    """3 epochs of 2 s in each of three runs: 18 s, by two processes."""
    for name in "abc":
        make(Path(name), rows=[(0, 10, 0), (1, 60, 2)])
    locks = [Lock(Path(name, ".lock")) for name in "ab"]
    assert all(lock.take(1) for lock in locks)
    done = command(*STATUS, *"abc")
    assert "0 done, 2 running, 1 pending, 0 failed; about 00:09 left at 2 at a time" in done.out
    for lock in locks:
        lock.leave()
    assert "0 running, 3 pending, 0 failed; about 00:18 left at 1 at a time" in command(*STATUS, *"abc").out


def test_time_left_by_hand(tmp_path):
    """4 epochs at (2 + 4 + 6) / 3 s, 5 of another network at 10 s; dense training of 3 epochs once for two cells."""
    make(tmp_path / "a", rows=[(0, 10, 0), (1, 60, 2), (2, 71, 4)], post=6)
    make(tmp_path / "b", {"status": "done", "seconds": {"eval": 1.5}}, rows=[(0, 10, 0), (1, 60, 6)], post=1)
    (groups, bad) = groups_of([tmp_path / "a", tmp_path / "b"])
    assert not bad and seconds_left(groups[0].rows) == (pytest.approx(4 * (4 + 1.5 / 3)), "")
    make(tmp_path / "c", model="conv", pre=3, post=1)
    make(tmp_path / "d", model="conv", pre=3, post=2)
    rows = groups_of([tmp_path / n for n in "abcd"])[0][0].rows
    assert seconds_left(rows) == (pytest.approx(4 * 4.5), "2 runs unknown, no epoch of conv on mnist has been measured yet")
    assert seconds_left(rows[2:]) == (None, "2 runs unknown, no epoch of conv on mnist has been measured yet")
    make(tmp_path / "e", {"status": "failed", "reason": "no luck"}, model="conv", rows=[(0, 1, 0), (1, 2, 10)])
    rows = groups_of([tmp_path / n for n in "abcde"])[0][0].rows
    assert seconds_left(rows)[0] == pytest.approx(4 * 4.5 + (3 + 1 + 2) * 10)


@pytest.mark.parametrize(("work", "epochs"), [
    ({"pre_epochs": 2, "post_epochs": 3}, (2, 3)),
    ({"post_epochs": 3}, None),
    ({"pre_epochs": 5, "post_epochs": 5, "level": 3, "rewind_epoch": 2}, (11, 3)),
    ({"pre_epochs": 5, "post_epochs": 2, "level": 3, "no_rewind": True}, (9, 2)),
])  # fmt: skip
def test_epochs_in_all(work, epochs):
    assert epochs_of(work) == epochs


def test_nothing_noted_is_unknown(tmp_path):
    rows = [RunProgress("x", State("pending"), progress_of(tmp_path), {})]
    assert seconds_left(rows) == (None, "1 run unknown, nobody noted what they train")


def test_grids_of_before_and_spoilt_cells(command):
    """A grid's `args.json` without `work` (older), a cell whose `args.json` is spoilt, one whose summary is."""
    assert command(*WORDS).status == 0
    grid = read_json(GRID / "args.json")
    assert grid.pop("work")["pruner=mag,compression=0.5,seed=1"]["pre_epochs"] == 2
    (GRID / "args.json").write_text(json.dumps(grid))
    (GRID / "pruner=dense,seed=1" / "args.json").write_text("{")
    (GRID / "pruner=dense,seed=2" / "summary.json").write_text("[]")
    shutil.rmtree(GRID / "pruner=mag,compression=0.5,seed=2")
    done = command(*STATUS, GRID, "nowhere", GRID / "pruner=mag,compression=0.5,seed=1")
    assert done.status == 0 and "3 done, 0 running, 1 pending, 2 failed; time left unknown: 1 run unknown, nobody noted" in done.out
    assert "cannot be read as JSON" in done.out and "a JSON object was expected" in done.out and "nowhere: no run there" in done.out
    assert "Single runs: 1 done" in done.out


@pytest.mark.parametrize(("words", "parts"), [
    (STATUS[:2], ["--run FOLDER"]),
    ([*STATUS, "nowhere", "empty"], ["nowhere empty", "no run there"]),
    ([*STATUS, "x", "--jobs", "2"], ["--jobs", "status"]),
])  # fmt: skip
def test_refusals(words, parts, refused):
    Path("empty").mkdir()
    refused(words, *parts)


def test_the_time_of_an_epoch_depends_on_the_same_options_in_every_estimate():
    assert set(of_step_time()) == {"dataset", "image_size", "model", "model_class", "weights", "optimizer", "train_batch_size",
                                   "test_batch_size", "quantization", "precision", "compile"}  # fmt: skip
    one, other = (RunProgress("x", State("pending"), Progress(), {"model": "fc", "optimizer": name}) for name in ("sgd", "adam"))
    assert one.pace != other.pace
