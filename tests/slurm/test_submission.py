"""Submitting to Slurm, with programs that only look like Slurm's, and what a task does."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import pretend

from Utils.base.errors import Refused, RunFailed
from Utils.base.json_files import read_json
from Utils.grid import cell, slurm
from Utils.options.types import Cell, Options

FOLDER = Path("Results/data/singleshot/my sweep")


@pytest.fixture
def program(tmp_path, monkeypatch):
    return pretend(tmp_path, monkeypatch)


def options(**given):
    return Options(**{f"slurm_{name}": value for name, value in given.items()})


def cells(count: int) -> list[Cell]:
    return [Cell(f"seed={i}", {"seed": i}, Options(seed=i, gpu=1)) for i in range(count)]


def test_submitting_an_array(program, monkeypatch):
    """A record, a script with what was asked and nothing of the user's defaults for it, and tasks that unpickle."""
    monkeypatch.setenv("SBATCH_TIMELIMIT", "1")
    monkeypatch.setenv("SBATCH_PARTITION", "theirs")
    monkeypatch.setenv("SBATCH_QOS", "kept")
    monkeypatch.setenv("SLURM_JOB_ID", "5")  # submitted from within a job
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "100")
    monkeypatch.setenv("SLURM_CONF", "kept")
    program("sbatch", 'env > environment; cp "$1" script; echo Submitted batch job 77')
    program("scontrol", "echo 'MaxArraySize            = 1001'")
    asked = options(partition="gpu", time=240, memory="16GB", gpus=1, cpus=4, option=(("account", "vision"), ("exclusive", "true")))
    assert slurm.submit(cells(3), FOLDER, asked) == "77"
    assert os.environ["SBATCH_TIMELIMIT"] == "1" and os.environ["SLURM_JOB_ID"] == "5"

    (written,) = (FOLDER / "slurm").glob("*.json")
    content = read_json(written)
    assert content == {"name": written.stem, "job": "77", "cells": ["seed=0", "seed=1", "seed=2"]}
    assert written.stem.startswith("my_sweep-")
    environment = Path("environment").read_text().splitlines()
    hidden = ("SBATCH_TIMELIMIT", "SBATCH_PARTITION", "SLURM_JOB_ID", "SLURM_MEM_PER_CPU")
    assert not any(line.startswith(hidden) for line in environment)
    assert "SBATCH_QOS=kept" in environment and "SLURM_CONF=kept" in environment

    script = Path("script").read_text()
    flags = ("account=vision", "array=0-2%3", "cpus-per-task=4", "exclusive", "gpus-per-node=1", f"job-name={written.stem}", "mem=16GB",
             "partition=gpu", "requeue", "signal=USR2@90", "time=240")  # fmt: skip
    assert all(f"#SBATCH --{flag}\n" in script for flag in flags), script
    assert "wckey" not in script and f"cd {Path.cwd()} || exit 1\n" in script and "OMP_NUM_THREADS=4" in script
    assert "srun" in script and "--cpus-per-task=4 " in script.splitlines()[-1]
    task = pickle.loads((FOLDER / "slurm" / written.stem / "77_1_submitted.pkl").read_bytes()).function
    assert (task.options.seed, task.options.gpu) == (1, 0)  # the job's first device, whatever --gpu said


def test_one_cell_is_a_job_and_many_are_several_arrays(program):
    program("sbatch", "echo x >> calls; [ $(wc -l < calls) -lt 4 ] || { echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1; }; "
            "echo Submitted batch job 8$(wc -l < calls)")  # fmt: skip
    program("scontrol", "echo 'MaxArraySize = 4'")
    assert slurm.submit(cells(1), FOLDER, options()) == "81"
    assert slurm.submit(cells(6), FOLDER, options()) == "82,83"
    records = [json.loads(path.read_text()) for path in (FOLDER / "slurm").glob("*.json")]
    assert sorted((r["job"], len(r["cells"])) for r in records) == [("81", 1), ("82", 4), ("83", 2)]
    Path("calls").write_text("x\nx\n")
    with pytest.raises(RunFailed, match=r"^4 of 6 cells are submitted, as 83; then sbatch: QOSMaxSubmitJobPerUserLimit$"):
        slurm.submit(cells(6), FOLDER, options())
    assert len(list((FOLDER / "slurm").glob("*.json"))) == 4


@pytest.mark.parametrize(("message", "kind"), [
    ("sbatch: error: invalid partition specified: x\nsbatch: error: Batch job submission failed: Invalid partition name specified", Refused),
    ("sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)", RunFailed),
])  # fmt: skip
def test_a_refused_submission_leaves_nothing_behind(program, capsys, message, kind):
    program("sbatch", f"echo '{message}' >&2; exit 1")
    with pytest.raises(kind) as caught:
        slurm.submit(cells(2), FOLDER, options())
    assert str(caught.value) == "sbatch: " + message.replace("sbatch: error: ", "").replace("\n", "; ")
    assert not any(Path().iterdir()) and capsys.readouterr() == ("", "")


def test_a_path_that_slurm_would_fill_in(program):
    with pytest.raises(Refused, match="--expid"):
        slurm.submit(cells(2), FOLDER.with_name("50%j"), options())
    assert not any(Path().iterdir())


def test_an_interrupted_submission_is_cancelled(program, monkeypatch):
    monkeypatch.setattr(slurm, "_sbatch", lambda *_: signal.raise_signal(signal.SIGINT))
    program("scancel", "echo $1 > cancelled")
    FOLDER.mkdir(parents=True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell began the tests in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            slurm.submit(cells(2), FOLDER, options())
    finally:
        signal.signal(signal.SIGINT, before)
    assert Path("cancelled").read_text().startswith("--name=my_sweep-") and not any(FOLDER.iterdir())


@pytest.mark.parametrize(("option", "words"), [
    ("time", "say it with --slurm-time"), ("cpus_per_task", "say it with --slurm-cpus"), ("array", "a grid sets this itself"),
])  # fmt: skip
def test_options_that_have_a_flag_or_are_not_to_be_had(program, option, words):
    with pytest.raises(Refused, match=words):
        slurm.check(options(option=((option, "1"),)))
    slurm.check(options(option=(("account", "vision"),)))


def test_what_is_missing_is_named(program, tmp_path, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(Refused, match=r"needs submitit: pip install -r requirements-slurm\.txt"):
            slurm.check(options())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match="sbatch is not on PATH"):
        slurm.check(options())


def test_a_task_goes_on_after_preemptions_and_after_a_number_of_time_limits(monkeypatch):
    task = slurm.CellTask(Options(seed=1), minutes=10)
    task.began = time.monotonic() - 300
    for _ in range(100):  # which submitit takes for time limits, in a job of ten minutes
        task = pickle.loads(pickle.dumps(task.checkpoint().function))
    for _ in range(slurm.TRIES - 1):
        task.began = time.monotonic() - 505
        task = pickle.loads(pickle.dumps(task.checkpoint().function))
    task.began = time.monotonic() - 505
    with pytest.raises(slurm.OutOfTries, match="at its time limit, --slurm-time 10, for the 20th time"):
        task.checkpoint()


@pytest.fixture
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_task_waits_for_a_busy_cell_and_for_its_end_once_it_was_signalled(monkeypatch, capsys, handlers):
    outcomes = iter([cell.Outcome("busy"), cell.Outcome("busy"), cell.Outcome("failed", "a data worker is gone")])
    slept = []

    def run_cell(cell):
        signal.raise_signal(signal.SIGTERM)
        return next(outcomes)

    monkeypatch.setattr(cell, "run_cell", run_cell)
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)  # for good: not in the process of the tests
    monkeypatch.setattr(time, "sleep", slept.append)
    slurm.CellTask(Options(seed=1), minutes=10)()
    assert slept == [5, 5, 600] and capsys.readouterr().err == "failed: a data worker is gone\n"


def test_data_workers_do_not_requeue_the_task(tmp_path):
    """What Slurm signals reaches every process of a task."""
    script = """import os, signal, time
from Utils.grid import slurm
from Utils.grid import cell
signal.signal(signal.SIGUSR2, lambda *_: print("requeue", flush=True))
def run_cell(options):
    if (worker := os.fork()) == 0:
        signal.raise_signal(signal.SIGUSR2)
        os._exit(0)
    os.waitpid(worker, 0)
    signal.raise_signal(signal.SIGUSR2)
    return cell.Outcome("done")
cell.run_cell = run_cell
slurm.CellTask(None, 10)()"""
    environment = os.environ | {"PYTHONPATH": str(slurm.PROJECT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "requeue\n", done.stderr
