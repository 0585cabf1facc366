"""Grids on a real Slurm, started on this machine for these tests and stopped after them (see one_machine.py), with `-m long`.

They run where Slurm's programs are installed. Where they are not, the tests install Debian's packages themselves only if nobody
can mind: as root, with apt-get, on a machine that is obviously thrown away, which is a container or one that sets CI; it takes
ten seconds and is given up after two minutes. PRUNING_INSTALL_SLURM=1 installs them on any machine and =0 on none. Everywhere
else, or if the installation fails, the tests are skipped and say what to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import one_machine
import pandas as pd
import pytest
from conftest import timeless
from forked import Forked

PROJECT = Path(__file__).resolve().parents[2]
GRIDS = Path("Results/data/singleshot")
pytestmark = pytest.mark.long
PREFIX = "pruning-slurm-"


def obtain() -> str:
    """Make sure that Slurm is installed; returns why it is not."""
    lacking = one_machine.missing()
    if not lacking:
        return ""
    wish = os.environ.get("PRUNING_INSTALL_SLURM", "")
    container = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")) or "container" in os.environ
    thrown_away = container or os.environ.get("CI", "").lower() in ("1", "true")
    able = os.geteuid() == 0 and shutil.which("apt-get") is not None
    if not able or wish == "0" or not (thrown_away or wish == "1"):
        return f"{', '.join(lacking)} not installed: as root, {one_machine.APT}"
    try:
        one_machine.install()
    except one_machine.Broken as error:
        return f"Slurm could not be installed: {error}"
    return ""


def sweep() -> None:
    """Stop what tests left running that were killed themselves."""
    for owner in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/owner.json"):
        with contextlib.suppress(OSError, ValueError):  # another user's, or one that is just being made
            pid, began = json.loads(owner.read_text())
            if one_machine.began(pid) != began:
                one_machine.stop(owner.parent)
                shutil.rmtree(owner.parent)


@pytest.fixture(scope="module")
def slurm():
    """The environment of a running Slurm's users."""
    if reason := obtain():
        pytest.skip(reason)
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))  # a short path, for the sockets in it
    (folder / "owner.json").write_text(json.dumps([os.getpid(), one_machine.began(os.getpid())]))
    try:
        with one_machine.running(folder) as environment:
            yield environment
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def main(slurm, tmp_path, monkeypatch):
    """A function that starts `main.py` as a process of its own, in a folder of the test's, and awaits it or not."""
    monkeypatch.chdir(tmp_path)

    def start(*words: str, wait: bool = True):
        environment = os.environ | slurm | {"OMP_NUM_THREADS": "1"}
        process = Forked(PROJECT / "main.py", words, environment)
        return finish(process) if wait else process

    return start


def finish(process: Forked) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def ask(slurm: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=os.environ | slurm, capture_output=True, text=True, timeout=60, check=True).stdout


def until(true, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def same_numbers(one: Path, other: Path) -> None:
    """The same table, and the same networks bit for bit."""
    tables = [timeless(pd.read_csv(folder / "grid.csv")).drop(columns="expid") for folder in (one, other)]
    assert set(tables[0]["status"]) == {"done"}
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    for cell in tables[0]["cell"]:
        assert (one / cell / "model.pt").read_bytes() == (other / cell / "model.pt").read_bytes(), cell


def logs(folder: Path) -> str:
    return "\n".join(f"{path}:\n{path.read_text()}" for path in sorted(folder.glob("slurm/*/*_log.*")))


def test_a_grid_has_the_numbers_of_a_local_one(slurm, main):
    """Submitted by one command, collected by the same command later."""
    words = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--pruner", "rand", "--compression", "0.5", "--post-epochs", "2",
             "--seed-list", "1", "2"]  # fmt: skip
    on_slurm = [*words, "--launcher", "slurm", "--slurm-time", "20", "--expid", "far away"]
    submitted = main(*on_slurm)
    assert submitted.returncode == 0 and "Submitted 4 cells as Slurm job" in submitted.stdout, submitted
    again = main(*on_slurm)
    assert again.returncode == 0 and "Submitted" not in again.stdout, again
    local = main(*words, "--expid", "near")
    assert local.returncode == 0, local
    until(lambda: not ask(slurm, "squeue", "-h"))
    collected = main(*on_slurm)
    assert collected.returncode == 0 and "4 done, 0 running, 0 pending, 0 failed" in collected.stdout, (collected, logs(GRIDS / "far away"))
    same_numbers(GRIDS / "far away", GRIDS / "near")
    for name in ("seed=1", "pruner=dense,seed=2"):
        assert "Post-Training for 2 epochs." in (GRIDS / "far away" / name / "log.txt").read_text()


def test_preempted_cells_go_on_from_their_checkpoints(slurm, main):
    """A job of more weight takes the node; the array's tasks are requeued and end with the numbers of an undisturbed run."""
    words = ["--dataset", "synthetic:1x8x8:3:600", "--model", "fc", "--pruner-list", "rand", "--compression", "0.5",
             "--post-epochs", "250"]  # fmt: skip
    on_slurm = [*words, "--checkpoint-every", "1", "--launcher", "slurm", "--slurm-time", "20", "--expid", "far"]
    submitted = main(*on_slurm)
    assert submitted.returncode == 0, submitted
    folders = [GRIDS / "far" / name for name in ("pruner=dense", "pruner=rand")]
    until(lambda: all((folder / "checkpoint.bin").exists() for folder in folders))
    ask(slurm, "srun", "-p", "hi", "-n2", "true")
    local = main(*words, "--checkpoint-every", "0", "--expid", "near")
    assert local.returncode == 0, local
    until(lambda: not ask(slurm, "squeue", "-h"))
    collected = main(*on_slurm)
    assert collected.returncode == 0 and "2 done, 0 running, 0 pending, 0 failed" in collected.stdout, (collected, logs(GRIDS / "far"))
    for folder in folders:
        assert "Going on after epoch" in (folder / "log.txt").read_text(), logs(GRIDS / "far")
    same_numbers(GRIDS / "far", GRIDS / "near")


def test_what_slurm_refuses_leaves_nothing_behind(main):
    refused = main("--dataset", "synthetic:1x8x8:3:60", "--seed-list", "1", "2", "--launcher", "slurm", "--slurm-partition", "none")
    assert refused.returncode == 2 and not any(Path().iterdir()), refused
    assert refused.stderr.count("\n") == 1 and "sbatch: invalid partition specified: none" in refused.stderr
