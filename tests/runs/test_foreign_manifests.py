"""Manifests and records of another origin, or spoilt: neither believed nor replaced, and the files beside them stay."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import TINY

SHOT = Path("Results/data/singleshot")
pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize("content", ['{"files": ["index.html"]}', '{"name": "my web app"}', "no JSON", None, "folder", "pipe", "real"])
@pytest.mark.parametrize("over", [(), ("--overwrite",)])
def test_a_manifest_of_another_origin_is_neither_believed_nor_replaced(finished, command, tmp_path, content, over):
    """`real`: one that this program wrote, from which the checksum was taken, and a name added."""
    folder = SHOT / "a"
    if content in ("folder", "real"):
        finished(*TINY, "--expid", "a")
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    manifest.unlink(missing_ok=True)
    (folder / "index.html").write_text("precious")
    if content in ("folder", "pipe"):
        (manifest.mkdir if content == "folder" else lambda: os.mkfifo(manifest))()
    else:
        names = sorted(file.name for file in folder.iterdir())
        manifest.write_text(json.dumps({"files": names}) if content in (None, "real") else content)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = command(*TINY, "--seed", "5", "--expid", "a", *over)
    assert done.status == 2 and "Traceback" not in done.err, done
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before and manifest.exists()


def test_what_only_looks_like_a_leftover_stays(command):
    words = [*TINY, "--checkpoint-every", "1", "--expid", "a"]
    assert command(*words).status == 0
    mine = [SHOT / "a" / name for name in (".model.pt.20240131", ".args.json.1", "checkpoint.bin")]
    for path in mine:
        path.write_text("mine")
    assert "Already done" in command(*words).out and all(path.read_text() == "mine" for path in mine)
    (SHOT / "a" / ".lock").write_text("2024\nmy diary\n")
    assert "Already done" in command(*words).out and (SHOT / "a" / ".lock").read_text() == "2024\nmy diary\n"
    done = command(*words, "--overwrite")
    assert done.status == 2 and ".lock is no lock of this program" in done.err and all(path.exists() for path in mine)


@pytest.mark.parametrize(("spoilt", "foreign"), [
    ({"experiment": "multishot", "level": 10**9}, None), ({"level": "abc"}, None),
    ({"experiment": ["x"]}, "args.json"), ({"cells": 3}, "summary.json"),
])  # fmt: skip
def test_nonsense_in_a_folder_of_before_is_bounded(finished, command, spoilt, foreign):
    """A run that is no longer known as one is neither replaced nor measured."""
    finished(*TINY, "--expid", "a")
    (SHOT / "a" / "manifest.json").unlink()
    args = json.loads((SHOT / "a" / "args.json").read_text())
    del args["checksum"]
    args = {name: value for name, value in args.items() if not isinstance(value, str) or len(value) != 64} | spoilt
    (SHOT / "a" / "args.json").write_text(json.dumps(args))
    again = command(*TINY, "--expid", "a", "--overwrite")
    timed = command("--experiment", "time", "--run", SHOT / "a")
    if foreign is None:
        assert (again.status, again.err, timed.status, timed.err) == (0, "", 0, "")
    else:
        assert again.status == timed.status == 2
        assert again.err == (f"main.py: error: {SHOT}/a/{foreign} is not a file of this program, which replaces its own alone; "
                             "take it away, or choose another --expid\n")  # fmt: skip
        assert timed.err == f"main.py: error: {SHOT}/a/args.json is damaged: it is not what the run wrote, by the checksum in summary.json\n"


@pytest.mark.parametrize("load", [3, {"start": 3, "end": "x"}, {"start": ["a"], "end": None}])
def test_one_foreign_summary_does_not_end_a_report(finished, command, load):
    for name in "ab":
        finished(*TINY, "--expid", name)
    summary = json.loads((SHOT / "a" / "summary.json").read_text())
    del summary["checksum"]
    (SHOT / "a" / "summary.json").write_text(json.dumps({k: v for k, v in summary.items() if k != "files"} | {"files": {}, "load": load}))
    done = command("--experiment", "report", "--run", SHOT / "a", SHOT / "b", "--no-save")
    assert done.status == 0 and f"Left out: {SHOT / 'a'}" in done.out and "load" in done.out, done
