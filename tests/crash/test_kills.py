"""Five kills of a small grid, and interrupts; `python -m tests.crash` makes fifty kills."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from conftest import PROJECT
from forked import Forked

from Utils.base import signals
from Utils.base.errors import Terminated
from Utils.base.files import atomic
from Utils.base.tensor_files import unseal

sys.path.insert(0, str(PROJECT))
from tests.crash.interrupts import LAST_WORD, TWO_JOBS, interrupt
from tests.crash.kills import kill_grid

WORDS = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--pruner", "mag", "--compression-list", "0.5", "1", "--pre-epochs", "5",
         "--post-epochs", "10", "--checkpoint-every", "1", "--jobs", "2", "--stack", "3", "--expid", "crash"]  # fmt: skip


def started(root, words):
    """The grid, from the moment on where it has imported torch; with that, `python -m tests.crash` kills it too."""
    return Forked(PROJECT / "main.py", [*words, "--result-dir", root], log=root.with_suffix(".log"))


@pytest.mark.long
def test_a_grid_that_is_killed_five_times(tmp_path):
    tally = kill_grid(tmp_path, 5, words=WORDS, start=started)
    assert tally.kills == 5 and not tally.problems, tally


@pytest.mark.parametrize(("words", "number"), [([], signal.SIGTERM), (TWO_JOBS, signal.SIGINT)], ids=["one run", "two jobs"])
def test_an_interrupt_ends_training_with_its_checkpoint_kept(words, number, tmp_path):
    """How long it takes is measured by hand: `python -m tests.crash.interrupts`."""
    ended = interrupt(words, number, tmp_path)
    assert ended.status == 128 + number
    assert ended.said.strip().splitlines()[-1] == LAST_WORD and "Traceback" not in ended.said
    kept = list(tmp_path.rglob("checkpoint.bin"))
    assert kept and all(unseal(path) for path in kept)
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_write_is_finished_first(number, error, tmp_path):
    before = signal.getsignal(number)
    signals.install(number)
    try:
        with pytest.raises(error), atomic(tmp_path / "a") as file:
            os.kill(os.getpid(), number)
            file.write_text("whole")
        assert (tmp_path / "a").read_text() == "whole"
        with pytest.raises(error), atomic(tmp_path / "b") as file:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # who asks twice does not wait
            file.write_text("never")
        with pytest.raises(error):
            os.kill(os.getpid(), number)
        with signals.held():
            pass  # nothing is left to be raised
    finally:
        signal.signal(number, before)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
