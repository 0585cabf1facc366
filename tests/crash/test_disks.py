"""Disks that are full or cannot be written, folders that vanish: one line, exit status 1, earlier results stay readable."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest
from conftest import TINY

from Utils.base.json_files import read_json
from Utils.runs.folder import RunFolder

RUN = [*TINY, "--no-cuda"]


def one_line(done, status, *parts):
    assert done.status == status, done
    assert done.err.count("\n") == 1 and "Traceback" not in done.out + done.err, done.err
    for part in parts:
        assert part in done.err, done.err


def test_a_full_disk(command, disk):
    words = [*RUN, "--result-dir", disk.path / "r"]
    assert command(*words, "--expid", "early").status == 0
    disk.fill(left=300_000)  # enough for the tables, not for the networks
    one_line(command(*words, "--expid", "late"), 1, "cannot write", "late/", "No space left on device")
    assert not list(disk.path.rglob(".*.*"))  # what was half written is gone
    assert "Already done" in command(*words, "--expid", "early").out
    assert command("--experiment", "evaluate", "--run", disk.path / "r/singleshot/early").status == 0
    disk.fill()
    one_line(command("--experiment", "histogram", "--run", disk.path / "r/singleshot/early"), 1, "No space left on device", "cannot write")


def test_a_grid_on_a_full_disk(command, disk):
    """The cells say why they failed, the earlier table is whole, and with room again the same command goes on."""
    words = [*RUN, "--result-dir", disk.path / "r", "--expid", "g", "--seed-list", "1"]
    assert command(*words).status == 0
    table = (disk.path / "r/singleshot/g/grid.csv").read_bytes()
    disk.fill(left=150_000)
    done = command(*words, "2")
    one_line(done, 1)
    assert "No space left on device" in done.out + done.err
    assert (disk.path / "r/singleshot/g/grid.csv").read_bytes().startswith(table[: table.index(b"\n")])
    (disk.path / "ballast").unlink()
    assert command(*words, "2").status == 0


def test_a_file_that_may_not_grow(command):
    """What anybody can test: the system's limit on the size of a file, which torch's writer meets in the middle."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        done = command(*RUN, "--expid", "x")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    one_line(done, 1, "cannot write", "initial.pt", "File too large")
    assert read_json(Path("Results/data/singleshot/x/summary.json"))["status"] == "failed"
    assert command(*RUN, "--expid", "x").status == 0


def test_a_disk_that_cannot_be_written(command, disk):
    words = [*RUN, "--result-dir", disk.path / "r"]
    assert command(*words, "--expid", "early").status == 0
    disk.read_only()
    one_line(command(*words, "--expid", "late"), 2, "--result-dir: cannot write to", "Read-only file system")
    assert "Already done" in command(*words, "--expid", "early").out
    one_line(command("--experiment", "time", "--run", disk.path / "r/singleshot/early"), 1, "cannot write", "Read-only file system")
    report = command("--experiment", "report", "--run", disk.path / "r/singleshot/early", "--no-save")
    assert report.status == 0


@pytest.fixture
def vanishing(monkeypatch):
    """Cells of seed 2, or single runs, lose their folder, or a file of it, before their first checkpoint."""
    def vanish(name=None):
        write = RunFolder.write_checkpoint

        def lose(folder, *words, **named):
            if folder.options.seed == 2 and name:
                (folder.path / name).unlink(missing_ok=True)
            elif folder.options.seed == 2:
                shutil.rmtree(folder.path)
            write(folder, *words, **named)

        monkeypatch.setattr(RunFolder, "write_checkpoint", lose)

    return vanish


def test_a_folder_that_is_deleted_under_its_run(command, vanishing):
    """It is not made again: half a run would look like a whole one."""
    vanishing()
    words = [*RUN, "--post-epochs", "2", "--checkpoint-every", "1", "--seed", "2", "--expid", "x"]
    one_line(command(*words), 1, "x/args.json was removed while the run was going on")
    assert not Path("Results/data/singleshot/x").exists()


def test_a_file_that_is_deleted_under_its_run(command, vanishing):
    vanishing("initial.pt")
    words = [*RUN, "--post-epochs", "2", "--checkpoint-every", "1", "--seed", "2", "--expid", "x"]
    one_line(command(*words), 1, "x/initial.pt was removed while the run was going on")
    assert read_json(Path("Results/data/singleshot/x/summary.json"))["status"] == "failed"


def test_a_cell_that_is_deleted_under_its_grid(command, vanishing):
    vanishing()
    done = command(*RUN, "--post-epochs", "2", "--checkpoint-every", "1", "--seed-list", "1", "2", "3", "--pruner-list", "rand", "--expid", "g")
    one_line(done, 1, "2 of 6 cells failed")
    assert done.out.count("was removed while the run was going on") >= 2 and "4 done" in done.out
