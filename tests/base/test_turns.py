"""Threads that take turns: one runs at a time, with its own values of the process; what one raises, its owner raises."""

from __future__ import annotations

import sys
import threading
import time
from types import SimpleNamespace

import pytest

from Utils.base import turns
from Utils.base.locks import Lock
from Utils.base.turns import Kept, Turn

STREAM = Kept(lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream))


def test_they_run_one_after_the_other_up_to_their_meetings():
    said = []

    def work(name):
        for number in (1, 2):
            said.append((name, number, turns.meet((name, number))))
        return name

    pair = [Turn(lambda name=name: work(name)) for name in "ab"]
    for turn in pair:
        turn.go_on()
    assert [turn.asked for turn in pair] == [("a", 1), ("b", 1)] and not said
    pair[1].go_on(True)
    assert said == [("b", 1, True)] and pair[1].asked == ("b", 2)
    for turn, answer in zip((*pair, *pair), (False, True, True, False), strict=True):
        if not turn.over:
            turn.go_on(answer)
    assert said == [("b", 1, True), ("a", 1, False), ("b", 2, True), ("a", 2, True)]
    assert [(turn.over, turn.result, turn.asked) for turn in pair] == [(True, "a", None), (True, "b", None)]


def test_each_sees_its_own_value_of_the_process():
    before, seen = sys.stdout, []

    def work(stream):
        sys.stdout = stream
        turns.meet("here")
        seen.append(sys.stdout)

    pair = [Turn(lambda stream=stream: work(stream), [STREAM]) for stream in ("one", "two")]
    for turn in pair * 2:
        turn.go_on()
        assert sys.stdout is before
    assert seen == ["one", "two"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=["error", "signal"])
def test_errors_go_both_ways(error):
    def work():
        with pytest.raises(ArithmeticError, match="of the answer"):
            turns.meet("here")
        raise error

    turn = Turn(work)
    turn.go_on()
    with pytest.raises(type(error)):
        turn.go_on(ArithmeticError("of the answer"))
    assert turn.over


def test_who_is_to_leave_unwinds_where_it_waits():
    ends = []

    def work():
        try:
            turns.meet("here")
        finally:
            ends.append("left")
        ends.append("never")

    begun, new = Turn(work), Turn(work)
    begun.go_on()
    for turn in (begun, new, begun):
        turn.leave()
    assert ends == ["left"]


def signalled(monkeypatch, turn, where):
    """Let a signal call the owner away while it waits for `turn`, which runs, once the turn has come to `where`."""
    real = turn._owners.acquire
    calls = []

    def acquire(*args, **more):
        calls.append(args)
        if len(calls) == 1:
            where.wait()
            raise KeyboardInterrupt
        return real(*args, **more)

    monkeypatch.setattr(turn._owners, "acquire", acquire)
    with pytest.raises(KeyboardInterrupt):
        turn.go_on()


def test_who_runs_when_a_signal_comes_leaves_at_its_next_line_with_its_own_values(monkeypatch):
    before, ends, here = sys.stdout, [], threading.Event()

    def work():
        sys.stdout = "its own"
        here.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            ends.append(sys.stdout)

    turn = Turn(work, [STREAM])
    signalled(monkeypatch, turn, here)
    assert turn.over and ends == ["its own"] and sys.stdout is before


def test_a_block_is_finished_before_and_none_begun_afterwards(monkeypatch):
    ends, here, go_on = [], threading.Event(), threading.Event()

    def work():
        with turns.finished():
            here.set()
            go_on.wait()
            ends.append("finished")
        ends.append("never")

    def begins():
        here.set()
        try:
            go_on.wait()  # an ordinary error takes the place of the request to leave
        finally:
            with turns.finished():
                ends.append("never")

    turn = Turn(work)
    threading.Timer(0.02, go_on.set).start()
    signalled(monkeypatch, turn, here)
    assert turn.over and ends == ["finished"]
    for event in (here, go_on):
        event.clear()
    turn = Turn(begins)
    threading.Timer(0.02, go_on.set).start()
    signalled(monkeypatch, turn, here)
    assert turn.over and ends == ["finished"]


def test_a_lock_that_another_one_holds_is_waited_for_in_turns(tmp_path):
    def work(name):
        lock = Lock(tmp_path / "a.lock")
        assert lock.take()
        turns.meet(name)
        lock.leave()

    one, two = (Turn(lambda name=name: work(name)) for name in "ab")
    one.go_on()
    two.go_on()
    assert (one.asked, two.asked, two.over) == ("a", None, False)
    one.go_on()
    two.go_on()
    assert one.over and two.asked == "b"
    two.go_on()


def test_the_clock_stands_while_the_others_run(monkeypatch):
    """Seconds of work that the owner did for it count."""
    now, measured = [100.0], []
    monkeypatch.setattr(turns, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def work():
        began = turns.seconds()
        turns.meet("here")
        measured.append(turns.seconds() - began)

    turn = Turn(work)
    turn.go_on()
    now[0] += 50.0
    turn.go_on(True, worked=8.0)
    assert measured == [8.0]


def test_alone_nobody_waits(tmp_path):
    assert not turns.meet("here") and not turns.pause() and not turns.among_others()
    assert Lock(tmp_path / "a.lock").take() and not Lock(tmp_path / "a.lock").take(0)
