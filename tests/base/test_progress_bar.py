"""The progress of a run: what is counted, the time left, and the lines of a log."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from conftest import TINY

from Utils.base import progress_bar as module
from Utils.base.progress_bar import (
    ROUND,
    TESTED,
    TRAINED,
    Part,
    RunProgress,
    counter,
    enter_part,
    interval,
    plan_parts,
    shown_progress,
)

PLAN = [Part("dense", {TRAINED: 0, TESTED: 2}), Part("prune", {ROUND: 4}), Part("post-train", {TRAINED: 20, TESTED: 6}, "level 1/2 ")]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets, in a list of one number."""
    time = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    return time


def epoch(progress, now, kind, units, each, text="post_train epoch 1/2", upto=None):
    with progress.work(kind, units, text):
        for _ in range(units if upto is None else upto):
            now[0] += each
            progress.count()


def test_a_line_every_ten_seconds_with_the_time_left_by_kind(now, capsys):
    progress = RunProgress()
    progress.plan(PLAN)
    epoch(progress, now, TESTED, 2, 1.0)  # the first batch is not timed: 1 s each
    progress.enter("prune")
    for _ in range(4):
        epoch(progress, now, ROUND, 1, 0.5, "prune round")
    progress.enter("post-train")
    epoch(progress, now, TESTED, 2, 1.0)
    assert capsys.readouterr().err == "" and now == [6.0]
    epoch(progress, now, TRAINED, 10, 3.0, upto=4)  # 12 s
    # Of 32 units 8 and 2 are done at 12 s. The first step is not timed: 18 times 3 s, and 4 tests of 1 s.
    assert capsys.readouterr().err == "level 1/2 post_train epoch 1/2, 31 % of the run, 0:58 left\n"
    assert progress.status()[:2] == (18, 32)  # an epoch counts whole at its end, as it is begun batch by batch on a card


def test_what_is_skipped_counts_as_done(now, capsys):
    progress = RunProgress()
    progress.plan(PLAN)
    progress.enter("prune")
    assert progress.status() == (2, 32, None)
    progress.enter("post-train")
    with progress.section("training", {}, {TRAINED: 10, TESTED: 4}):  # continued after its first epoch
        assert progress.status() == (20, 32, None)
    progress.enter("dense")  # of no effect: it lies behind
    assert progress.status()[0] == 20


def test_a_training_without_a_plan_is_its_own_whole(now, capsys):
    progress = RunProgress()
    with progress.section("training", {TRAINED: 10, TESTED: 0}):
        epoch(progress, now, TRAINED, 10, 3.0, upto=5)
    assert capsys.readouterr().err == "post_train epoch 1/2, 40 % of this training, 0:18 left\n"
    assert progress.status() == (0, 0, None)


def test_short_runs_and_other_ranks_print_nothing(now, capsys):
    with shown_progress() as progress:
        epoch(progress, now, TRAINED, 9, 1.0)
    with shown_progress(False) as progress:
        epoch(progress, now, TRAINED, 90, 1.0)
    assert capsys.readouterr().err == ""


def test_the_bar_of_a_terminal_is_removed(now, monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with shown_progress() as progress:
        plan_parts(PLAN)
        enter_part("post-train")
        progress.note("top-1 10.00 %")
        epoch(progress, now, TRAINED, 20, 1.0, upto=10)
    shown = stream.getvalue()
    assert "level 1/2 post_train epoch 1/2:  50%|" in shown and "16/32 batches" in shown and "0:10 left, top-1 10.00 %" in shown
    assert shown.endswith("\r") and shown.split("\r")[-2].strip() == ""


def test_each_thread_has_its_own(capsys):
    found = []
    with shown_progress() as progress:
        thread = threading.Thread(target=lambda: found.append(counter()))
        thread.start()
        thread.join()
        assert counter() == progress.count and found[0] != progress.count
    assert counter() == module._nothing


@pytest.mark.parametrize("seconds, text", [(80, "1:20"), (7, "0:07"), (615, "10:15"), (7509, "2:05:09")])
def test_intervals(seconds, text):
    assert interval(seconds) == text


def test_runs_count_all_their_batches_and_print_the_same(command, monkeypatch):
    words = [*TINY, "--pruner", "synflow", "--compression", "1", "--no-save", "--pre-epochs", "1", "--train-batch-size", "20"]
    monkeypatch.setattr(module, "SELDOM", 1e9)
    quiet = command(*words)
    monkeypatch.setattr(module, "SELDOM", 0.0)
    done = command(*words)
    lines = done.err.splitlines()
    # Dense: 3 steps and two evaluations of a batch each; 2 rounds; 3 steps and two evaluations.
    assert [line.split(",")[0] for line in lines[:-1]] == [
        "pre_train epoch 0/1", "pre_train epoch 0/1", *["pre_train epoch 1/1"] * 6, "prune round 1/2", "prune round 2/2",
        "post_train epoch 0/1", "post_train epoch 0/1", *["post_train epoch 1/1"] * 5,
    ]  # fmt: skip
    assert "8 % of the run" in lines[0] and "100 % of the run" in lines[-1] and quiet.err == ""
    assert len(done.out.splitlines()) == len(quiet.out.splitlines())


def test_lines_of_a_cell_go_to_its_log(command, monkeypatch):
    monkeypatch.setattr(module, "SELDOM", 0.0)
    words = ["--experiment", "multishot", *TINY, "--pruner", "mag", "--compression", "1", "--pre-epochs", "1", "--level-list", "2", "--expid", "g"]
    done = command(*words)
    log = next(Path("Results/data/multishot/g").glob("level=2/log.txt")).read_text()
    assert done.err == "" and "level 2/2 post_train epoch 1/1, 100 % of the run" in log and "level 1/2 prune round 1/2" in log
