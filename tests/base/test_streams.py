"""Standard streams: closed, full, read by nobody, and what foreign names and texts may do to a terminal."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT, TINY

from Utils.base.streams import UP, Shown, cleaned
from Utils.options.command_line import parse, what_stands
from Utils.options.failures import failure

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def test_what_a_terminal_would_obey_is_replaced():
    assert cleaned("a\tb\nc\r") == "a\tb\nc\r" and cleaned("\u00e9\u4e2d\U0001f600") == "\u00e9\u4e2d\U0001f600"
    assert cleaned("a\x1b[31mb\x9bc\u202ed\x00") == "a\ufffd[31mb\ufffdc\ufffdd\ufffd" and cleaned("\udcff") == "\ufffd"


def test_bars_go_back_to_their_line():
    there = io.StringIO()
    stream = Shown(there)
    for text in ("\n" + UP, f"name{UP}", "\rbar"):
        assert stream.write(text) == len(text)
    assert there.getvalue() == f"\n{UP}name\ufffd[A\rbar"


def test_a_stream_that_fails_is_lost_and_ends_nothing():
    class Full(io.StringIO):
        def write(self, _text):
            raise OSError(28, "No space left on device")

    for stream in (Shown(Full()), Shown(None)):
        print("x", file=stream, flush=True)
        assert stream.lost and not stream.isatty() and stream.encoding == "utf-8"

    class Left(io.StringIO):
        def write(self, _text):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        Shown(Left()).write("x")


def shell(tmp_path, words, redirection):
    """`python main.py WORDS` in a shell, with a redirection of its streams."""
    command = f"exec {sys.executable} {PROJECT}/main.py {' '.join(map(str, words))} {redirection}"
    return subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("redirection", [">&- 2>&- <&-", "> /dev/full 2> /dev/full"])
def test_a_run_goes_on_without_its_streams(tmp_path, redirection):
    done = shell(tmp_path, [*TINY, "--expid", "x"], redirection)
    assert done.returncode == 0, done
    assert json.loads((tmp_path / "Results/data/singleshot/x/summary.json").read_text())["status"] == "done"


@pytest.mark.parametrize(("words", "redirection"), [
    (["--list", "pruners"], ">&-"), (["--experiment", "status", "--run", "Results/data/singleshot/x"], "> /dev/full"),
])  # fmt: skip
def test_a_lost_listing_is_a_failure(tmp_path, command, words, redirection):
    assert command(*TINY, "--expid", "x").status == 0
    done = shell(tmp_path, words, redirection)
    assert done.returncode == 1 and done.stderr == "main.py: error: standard output cannot be written, and this command does nothing else\n"


def test_foreign_runs_do_not_reach_the_terminal(command, no_pictures):
    """Names of cells, reasons and options of a run that somebody else made."""
    assert command(*TINY, "--pruner-list", "rand", "--expid", "g").status == 0
    grid = Path("Results/data/singleshot/g")
    cell = grid / "pruner=rand"
    for file, change in ((cell / "summary.json", {"status": "failed", "reason": ESCAPE}), (grid / "args.json", {"cells": [ESCAPE, "pruner=rand"]})):
        content = json.loads(file.read_text()) | change
        content.pop("checksum")
        file.write_text(json.dumps(content))
    (args := json.loads((cell / "args.json").read_text())).pop("checksum")
    (cell / "args.json").write_text(json.dumps(args | {"model": f"fc{ESCAPE}"}))
    for words, status, shown in ((["status"], 0, "\ufffd]0;owned\ufffd\ufffd[2J"), (["report", "--expid", "r"], 0, "\ufffd]0;owned"),
                                 (["evaluate"], 1, "args.json is damaged")):  # fmt: skip
        done = command("--experiment", words[0], "--run", grid, cell, *words[1:])
        assert done.status == status and shown in done.out, done
        assert "\x1b" not in done.out + done.err and "\x07" not in done.out + done.err, words


@pytest.mark.parametrize(("words", "stands"), [
    (TINY, "the same command goes on from the last checkpoint"), ([*TINY, "--no-save"], "--no-save: nothing was saved"),
    (["--experiment", "status", "--run", "x"], "nothing was to be saved"), (["--list", "pruners"], "nothing was to be saved"),
    (["--experiment", "histogram", "--run", "x"], "the same command begins again"),
    ([*TINY, "--checkpoint-every", "0"], "the same command begins again"),
    ([*TINY, "--seed-list", "1", "2"], "the same command goes on from the last checkpoint"),
])  # fmt: skip
def test_an_interrupted_command_promises_what_it_keeps(words, stands):
    assert what_stands(parse(words)) == stands


@pytest.mark.parametrize(("pruner", "blamed"), [("mag", False), ("snip", True)])
def test_a_batch_size_is_blamed_where_it_is_used(pruner, blamed):
    text = failure(MemoryError("out of memory"), parse([*TINY, "--pruner", pruner]))
    assert ("--prune-batch-size" in text) is blamed and "--train-batch-size" in text


def test_a_lost_help_is_a_failure():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, PROJECT / "main.py", "--help"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == ""
