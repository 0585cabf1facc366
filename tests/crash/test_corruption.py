"""A few spoilt bytes of every kind of file, and what checksums there are; `python -m tests.crash.corruption` spoils many."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys

import pytest
from conftest import PROJECT, TINY

from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.base.json_files import read_json, write_json
from Utils.grid import grid_folder
from Utils.grid.grid_table import update_cell

sys.path.insert(0, str(PROJECT))
from tests.crash import corruption
from tests.crash.readers import CELL, GRID


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with runs that have every kind of file."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        corruption.prepare()
    return folder


@pytest.fixture
def runs(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


@pytest.mark.filterwarnings("ignore")
def test_spoilt_files_are_harmless_or_named(runs):
    found = corruption.spoil(1, seed=5)
    assert not found.problems, found
    assert found.files > 50 and found.spoilt == 2 * found.files and found.reported > found.harmless


def test_the_checksum_of_a_summary_and_of_later_measurements(runs):
    """By hand: the SHA-256 of the rest, keys sorted, without spaces."""
    for name in ("summary.json", "args.json", "time.json", "compact.json", "histogram.json", "saliency.json"):
        content = json.loads((CELL / name).read_text())
        digest = content.pop("checksum")
        assert digest == hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest(), name
    own = {path.name for path in CELL.iterdir()} - {"summary.json", "log.txt", "time.json", "manifest.json"}
    assert set(read_json(CELL / "summary.json")["files"]) == {name for name in own if not name.startswith(("compact", "histogram", "saliency"))}
    for name in ("compact.json", "histogram.json", "saliency.json"):
        files = read_json(CELL / name)["files"]
        assert files and all(hashlib.sha256((CELL / file).read_bytes()).hexdigest() == digest for file, digest in files.items())


def test_json_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"top1": 97.5, "none": float("nan"), "text": "é", 3: [1, (2,)]})
    text = path.read_text()
    assert read_json(path) == {"top1": 97.5, "none": None, "text": "é", "3": [1, [2]]}
    for before, after in (("97.5", "97.6"), ("null", "NaN"), ('"checksum"', '"chacksum"'), ("97.5", "9e75"), ("97.5", "1e999")):
        path.write_text(text.replace(before, after))
        with pytest.raises(Refused, match=r"a\.json is damaged"):
            read_json(path)
    path.write_text('{"top1": 97.5}')  # of before there were checksums
    assert read_json(path) == {"top1": 97.5}
    path.write_text("[" * 100_000)
    with pytest.raises(Refused, match=r"a\.json: cannot be read"):
        read_json(path)


def test_large_networks_are_checked_when_they_are_used(command, runs, tmp_path, monkeypatch):
    """A grid does not read them each time that it is looked at."""
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(grid_folder, "SMALL", 1000)
    content = bytearray((CELL / "model.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (CELL / "model.pt").write_bytes(content)
    assert grid_folder.state_of(CELL).status == "done"
    with pytest.raises(Refused, match=r"model\.pt is damaged"):
        check_file(CELL / "model.pt")
    for experiment in ("evaluate", "time", "histogram", "compact"):
        done = command("--experiment", experiment, "--run", CELL)
        assert done.status == 2 and "model.pt is damaged" in done.err, experiment


def test_a_damaged_table_of_a_grid_is_left_alone(runs, capsys):
    table = GRID / "grid.csv"
    text = table.read_text()
    assert (GRID / "grid.csv.sha256").read_text() == f"{hashlib.sha256(text.encode()).hexdigest()}  grid.csv\n"
    damaged = text.replace("done", "dome", 1)
    table.write_text(damaged)
    update_cell(CELL, "inference", {"total_seconds": 1})
    assert table.read_text() == damaged and "grid.csv cannot be read" in capsys.readouterr().out
    table.write_text(text)
    update_cell(CELL, "inference", {"total_seconds": 1})
    update_cell(CELL, "inference", {"total_seconds": 2})
    assert "grid.csv" not in capsys.readouterr().out


def test_a_damaged_checkpoint_says_so(command):
    """The run starts over; that its numbers are right is tested in test_resume.py."""
    from Utils.runs.folder import RunFolder

    words = [*TINY, "--post-epochs", "3", "--checkpoint-every", "1", "--expid", "x"]
    write = RunFolder.write_checkpoint

    def stop(self, *words, **named):
        write(self, *words, **named)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write_checkpoint", stop)
        done = command(*words)
    assert done.status == 130 and "goes on from the last checkpoint" in done.err
    with open("Results/data/singleshot/x/checkpoint.bin", "ab") as file:
        file.write(b"x")
    done = command(*words)
    assert done.status == 0 and "NOTE: Results/data/singleshot/x/checkpoint.bin is missing or damaged: the run starts over" in done.out
