"""Files and folders that somebody else made, spoilt or took away: named, bounded, and never the end of the rest."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from conftest import TINY
from pretend import card

from Utils.base.inputs import read_input
from Utils.base.locks import Lock, is_locked
from Utils.runs.manifest import OwnFiles
from Utils.trace import reading
from Utils.training.phase import Training

SHOT = Path("Results/data/singleshot")
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def unreadable(monkeypatch):
    """A function after which the system refuses everything in a folder, as it does to other users than this one."""

    def close(folder):
        inside = str(folder.resolve())
        for module, name in ((os, "stat"), (os, "listdir"), (os, "scandir"), (__import__("io"), "open")):
            whole = getattr(module, name)

            def refuse(path=".", *words, whole=whole, **named):
                if isinstance(path, str | os.PathLike) and str(Path(os.path.abspath(path))).startswith(inside + "/"):
                    raise PermissionError(13, "Permission denied", str(path))
                return whole(path, *words, **named)

            monkeypatch.setattr(module, name, refuse)

    return close


def test_one_unreadable_folder_does_not_end_report_and_status(finished, command, unreadable):
    for name in ("a", "b"):
        finished(*TINY, "--expid", name)
    unreadable(SHOT / "a")
    done = command("--experiment", "status", "--run", SHOT / "a", SHOT / "b")
    assert done.status == 0 and f"{SHOT}/a: cannot be read: Permission denied" in done.out and f"{SHOT}/b" in done.out
    done = command("--experiment", "report", "--run", SHOT, "--expid", "r")
    assert done.status == 0 and f"Left out: {SHOT}/a: cannot be read: Permission denied" in done.out, done
    for experiment in ("status", "report"):
        done = command("--experiment", experiment, "--run", SHOT / "a", "--expid", "r2", "--no-save") if experiment == "report" else command(
            "--experiment", experiment, "--run", SHOT / "a")
        assert done.status == 1 and "cannot be read: Permission denied" in done.err, done


def test_a_stale_lock_on_a_disk_that_cannot_be_written_is_nobodys(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    path.touch()
    assert not is_locked(path) and not is_locked(tmp_path / "none")
    holder = Lock(path)
    assert holder.take(0) and is_locked(path)
    holder.leave()
    path.touch()
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
    assert not is_locked(path)


def test_a_report_follows_its_runs_whatever_became_of_its_own_files(finished, command):
    finished(*TINY, "--expid", "a")
    words = ["--experiment", "report", "--run", SHOT / "a", "--expid", "r"]
    assert command(*words).status == 0
    folder = Path("Results/data/report/r")
    (folder / "report.md").write_text("mine")
    (folder / "report.html").unlink()
    assert command(*words).status == 0
    assert (folder / "report.html").exists() and "mine" not in (folder / "report.md").read_text()[:10]


def test_a_run_that_goes_on_elsewhere_says_so_once(command, monkeypatch):
    words = [*TINY, "--post-epochs", "4", "--checkpoint-every", "1", "--expid", "x"]
    whole = Training._next

    def until(last):
        def stopped(self, model, epoch, epochs):
            if epoch == last:
                raise KeyboardInterrupt
            whole(self, model, epoch, epochs)

        monkeypatch.setattr(Training, "_next", stopped)

    until(2)
    assert command(*words, "--no-cuda").status == 130
    with card():
        until(3)
        first = command(*words)
        until(9)
        second = command(*words)
    assert first.status == 130 and second.status == 0
    assert "NOTE: this run goes on with cuda: Pretended, 1 thread, torch" in first.out and "it was begun with cpu" in first.out
    assert "goes on with" not in second.out
    args = json.loads((SHOT / "x" / "args.json").read_text())
    assert args["device"].startswith("cpu") and [now["device"].split(",")[0] for now in args["continued"]] == ["cuda: Pretended"]
    assert "Already done" in command(*words).out


def test_a_damaged_record_is_not_gone_on_from(command, monkeypatch):
    words = [*TINY, "--post-epochs", "3", "--checkpoint-every", "1", "--expid", "x"]
    whole = Training._next
    with monkeypatch.context() as stopping:
        stopping.setattr(Training, "_next", lambda self, model, epoch, epochs: whole(self, model, epoch, epochs) if epoch < 2 else 1 / 0)
        assert command(*words).status == 1
    assert (SHOT / "x" / "checkpoint.bin").exists()
    args = SHOT / "x" / "args.json"
    args.write_text(args.read_text().replace('"argv"', '"argw"'))
    done = command(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err == f"main.py: error: {args} is damaged: its content is not what its checksum says\n"


def test_what_unpacks_to_more_than_a_trace_is_refused(refused, monkeypatch, tmp_path):
    monkeypatch.setattr(reading, "LARGEST", 1 << 20)
    (tmp_path / "trace.json.gz").write_bytes(gzip.compress(b" " * (5 << 20)))
    (tmp_path / "trace.json").write_bytes(b" " * (5 << 20))
    refused(["--experiment", "trace", "--trace", "trace.json.gz"], "trace.json.gz is too large to be read: it unpacks to more than 1 MiB")
    refused(["--experiment", "trace", "--trace", "trace.json"], "trace.json is too large to be read: more than 1 MiB")
    (tmp_path / "deep.json").write_text('{"traceEvents": ' + "[" * 100_000)
    refused(["--experiment", "trace", "--trace", "deep.json"], "deep.json")


def test_presets_are_bounded_regular_files(refused, tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "deep.toml").write_text("a = " + "[" * 20_000)
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    for name, words in (("pipe", "is no regular file"), ("deep", "lie too deep in each other"), ("large", "too large to be read: more than 1 MiB"),
                        ("none", "cannot be read: No such file")):  # fmt: skip
        refused(["--experiment", "assignment", "--preset", f"{name}.toml"], f"{name}.toml", words)


def test_an_input_is_read_whole_or_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert read_input(tmp_path / "x", 3) == b"abc"
    assert read_input(tmp_path / "x", 1 << 60) == b"abc"  # what may be read is not asked of the memory
    with pytest.raises(ValueError, match="too large"):
        read_input(tmp_path / "x", 2)


def test_a_subfolder_among_the_figures_stays(finished, command):
    finished(*TINY, "--expid", "a")
    words = ["--experiment", "report", "--run", SHOT / "a", "--expid", "r"]
    own = Path("Results/data/report/r/figures/own")
    own.mkdir(parents=True)
    (own / "mine.txt").write_text("mine")
    assert command(*words).status == 0 and command(*words, "--overwrite").status == 0 and (own / "mine.txt").read_text() == "mine"


def test_what_is_in_the_way_of_a_cell_is_found_before_any_runs(command):
    (SHOT / "g").mkdir(parents=True)
    (SHOT / "g" / "seed=2").write_text("mine")
    done = command(*TINY, "--expid", "g", "--seed-list", "1", "2")
    assert done.status == 2 and "seed=2" in done.err and not (SHOT / "g" / "seed=1").exists(), done


def test_a_pipe_for_a_lock_or_a_report_ends_nothing(finished, command, tmp_path):
    finished(*TINY, "--expid", "a")
    os.mkfifo(SHOT / "a" / ".lock")
    assert command("--experiment", "status", "--run", SHOT / "a").status == 0
    assert command("--experiment", "report", "--run", SHOT / "a", "--no-save").status == 0
    folder = tmp_path / "g" / "report"
    folder.mkdir(parents=True)
    (folder.parent / "grid.csv").touch()
    (folder / "report.html").touch()
    os.mkfifo(folder / "report.md")
    assert OwnFiles(folder).names == set()


def test_one_unreadable_folder_does_not_end_an_evaluation(finished, command, unreadable):
    for name in "ab":
        finished(*TINY, "--expid", name)
    unreadable(SHOT / "a")
    done = command("--experiment", "evaluate", "--run", SHOT / "a", SHOT / "b")
    assert done.status == 1 and "a: failed: " in done.out and "Permission denied" in done.out and f"{SHOT}/b: test loss" in done.out, done


@pytest.mark.parametrize("suffix", [".bin", ".checkpoint"])
def test_what_is_in_the_way_of_a_dense_network_is_named_before_training(finished, command, suffix):
    words = [*TINY, "--pre-epochs", "1", "--expid"]
    finished(*words, "a")
    (cached,) = Path("Results/data/dense-networks").glob("*.bin")
    cached.unlink()
    cached.with_suffix(suffix).mkdir()
    done = command(*words, "b")
    assert done.status == 2 and f"{cached.with_suffix(suffix)} is no file" in done.err, done


def test_a_report_whose_own_record_is_spoilt_is_made_anew(finished, command):
    finished(*TINY, "--expid", "a")
    words = ["--experiment", "report", "--run", SHOT / "a", "--expid", "r"]
    assert command(*words).status == 0
    Path("Results/data/report/r/args.json").write_text("x")
    assert command(*words).status == 0 and command(*words).status == 0


def test_names_of_folders_are_one_line(finished, command):
    finished(*TINY, "--expid", "a")
    forged = Path("x\nmain.py: forged\rDONE")
    (SHOT / "a").rename(forged)
    for experiment in ("evaluate", "histogram", "time", "saliency"):
        done = command("--experiment", experiment, "--run", forged)
        assert done.status == 0 and "\r" not in done.out and not any(line.startswith("main.py: forged") for line in done.out.splitlines()), done
