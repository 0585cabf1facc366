"""Times of short pieces of work on a pretended machine, whose clock the work moves."""

from __future__ import annotations

import time

import pytest
import torch

from Utils.grid import stopwatch as module
from Utils.grid.stopwatch import OutOfTime, Stopwatch, at_most

CPU, CARD = torch.device("cpu"), torch.device("cuda")


class Machine:
    """A call of n units computes for `start` + n * `each` seconds, of which others make `slower` times as many."""

    def __init__(self, monkeypatch, start=0.0, each=1.0, slower=1.0):
        self.passed = self.computed = 0.0
        self.start, self.each, self.slower, self.calls = start, each, slower, []
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.passed)
        monkeypatch.setattr(module.time, "thread_time", lambda: self.computed)

    def __call__(self, units):
        self.calls.append(units)
        took = self.start + units * self.each
        self.computed += took
        self.passed += self.slower * took


def test_whole_calls_where_they_fit_and_the_first_does_not_count(monkeypatch):
    machine = Machine(monkeypatch, start=0.01, each=0.001)
    watch = Stopwatch()
    assert watch.seconds(machine, 100, CPU) == pytest.approx(0.11)
    assert machine.calls[:3] == [2, 16, 100] and set(machine.calls[3:]) == {100} and machine.passed < 1.2


def test_a_part_of_slow_work_within_the_share(monkeypatch):
    machine = Machine(monkeypatch, each=0.1)
    watch = Stopwatch(10.0)
    watch.weights = 5.0
    assert watch.seconds(machine, 1000, CPU, 3.0) == pytest.approx(100)
    assert max(machine.calls) < 60 and machine.passed <= 6.0 and watch.weights == 2.0
    watch.seconds(machine, 1000, CPU)
    watch.seconds(machine, 1000, CPU)
    assert machine.passed <= 10.0


def test_others_on_the_machine_change_the_share_and_not_the_seconds(monkeypatch):
    machine = Machine(monkeypatch, each=0.01, slower=4.0)
    watch = Stopwatch()
    assert watch.seconds(machine, 10, CPU) == pytest.approx(0.1) and watch.share_of_core == pytest.approx(0.25)
    machine.passed = 11.0
    with pytest.raises(OutOfTime, match="10 s of measuring were over"):
        watch.seconds(machine, 10, CPU)


def test_on_a_card_the_seconds_that_pass_count(monkeypatch):
    monkeypatch.setattr(module.torch.cuda, "synchronize", lambda device: None)
    machine = Machine(monkeypatch, each=0.01, slower=4.0)
    watch = Stopwatch()
    assert watch.seconds(machine, 10, CARD) == pytest.approx(0.4) and watch.share_of_core == 1.0


def test_work_is_ended():
    with pytest.raises(OutOfTime, match="takes more than"), at_most(0.02):
        time.sleep(5)
    with at_most(5):
        pass
