"""Cells on a Slurm cluster: a job array with a task for each cell, submitted through submitit.

All files lie in GRID/slurm/: for each submission a record NAME.json, and NAME/ with the job script, pickles and logs. NAME is
also the job's name. It is unique, so that squeue finds the tasks of a submission even if the command that made it was
interrupted.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused, RunFailed
from Utils.base.files import linked
from Utils.base.json_files import write_json
from Utils.base.packages import require
from Utils.grid.slurm_queue import message_of, outcomes, waiting
from Utils.options.types import Cell, Options

__all__ = ["CellTask", "check", "outcomes", "submit", "waiting"]
PROJECT = Path(__file__).resolve().parents[2]
FLAGS = {"partition": "--slurm-partition", "time": "--slurm-time", "mem": "--slurm-memory", "cpus_per_task": "--slurm-cpus",
         "gpus_per_node": "--slurm-gpus", "gpus": "--slurm-gpus"}  # fmt: skip
OURS = ("array", "job_name", "output", "error", "open_mode", "signal", "nodes", "ntasks", "ntasks_per_node", "chdir", "requeue",
        "no_requeue", "clusters", "export", "parsable", "quiet", "test_only", "wait", "wrap")  # fmt: skip
# Variables that sbatch reads before its script and that are not named after their option.
VARIABLES = {"time": "TIMELIMIT", "array": "ARRAY_INX", "mem": "MEM_PER_NODE"}
TRIES = 20  # the most times that a task continues in a new job after its time limit
UNREACHABLE = re.compile(r"unable to contact|timed out|time out|temporarily|connect failure|connection refused|standby", re.I)


class OutOfTries(BaseException):
    """A task reached its time limit too often.

    It is no `Exception`, as the run did not fail: submitted again, it continues.
    """


class CellTask:
    """One task of the array. submitit pickles it, calls it, and asks it how to continue after an interruption."""

    def __init__(self, options: Options, minutes: int) -> None:
        self.options = options
        self.minutes = minutes
        self.tries = TRIES
        self.began = 0.0

    def __call__(self) -> None:
        """Run the cell in this process, from the checkpoint of an interrupted task if there is one."""
        from Utils.grid.cell import run_cell

        self.began = time.monotonic()
        terminated: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: terminated.append(number))
        # Slurm signals every process of a task: a data worker must not run submitit's handler, which requeues the task.
        os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        while (outcome := run_cell(self.options)).status == "busy":
            time.sleep(5)
        print(f"{outcome.status}: {outcome.reason}", file=sys.stderr)
        if terminated and outcome.status == "failed":
            # Its data workers obeyed Slurm's signal, and the run failed without them. Once requeued, it continues, but only if
            # it does not end before Slurm ends it.
            time.sleep(600)

    def checkpoint(self) -> Any:
        """Return the task to requeue when Slurm preempts it or its time limit is near: the same task; the cell resumes.

        submitit counts a preemption in the last ten minutes as a time limit, and in a job of ten minutes every preemption. This
        method therefore counts time limits itself, as soon as Slurm may have sent the signal because of the time.

        Raises:
            OutOfTries: the task reached its time limit too often.
        """
        from submitit.helpers import DelayedSubmission

        if time.monotonic() - self.began > 60 * self.minutes - _notice(self.minutes) - 90:
            self.tries -= 1
        if self.tries < 1:
            raise OutOfTries(f"at its time limit, --slurm-time {self.minutes}, for the {TRIES}th time")
        return DelayedSubmission(self)


def check(options: Options) -> None:
    """Check that this machine can submit jobs, without writing a file.

    Raises:
        Refused: submitit or Slurm's programs are missing, or `--slurm-option` sets an option that a grid sets itself.
    """
    require("submitit", "--launcher slurm")
    for program in ("sbatch", "srun", "squeue"):
        if shutil.which(program) is None:
            raise Refused(f"--launcher slurm: {program} is not on PATH; run it on a machine of the cluster that submits jobs")
    for name, _ in options.slurm_option:
        if flag := FLAGS.get(name):
            raise Refused(f"--slurm-option {name}: say it with {flag}")
        if name in OURS:
            raise Refused(f"--slurm-option {name}: a grid sets this itself")


def submit(cells: Sequence[Cell], folder: Path, options: Options) -> str:
    """Submit `cells` as one job array, or as several if the cluster limits arrays to fewer tasks.

    Args:
        cells: at least one cell; the task with index i runs the i-th.
        folder: the grid's folder; it may not exist yet.
        options: the grid's options, of which those that begin with `slurm_` are read.

    Returns:
        The job's number, or several, separated by commas.

    Raises:
        Refused: `check` refuses, or sbatch does, with its message; all files of the submission are removed.
        RunFailed: Slurm cannot be reached, or refuses a later array of several.
    """
    check(options)
    if "%" in str(folder.absolute()):
        raise Refused(f"Slurm does not leave the % in {folder.absolute()} as it is: choose another --expid or --result-dir")
    size, jobs = _longest_array() if len(cells) > 1 else 1, []
    for start in range(0, len(cells), size):
        try:
            jobs.append(_submit_array(cells[start : start + size], folder, options))
        except (Refused, RunFailed) as error:
            if not jobs:
                raise
            raise RunFailed(f"{start} of {len(cells)} cells are submitted, as {', '.join(jobs)}; then {error}") from error
    return ",".join(jobs)


def _longest_array() -> int:
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60).stdout
        if stated := re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.M):
            return max(int(stated[1]), 1)
    return 1000


def _submit_array(cells: Sequence[Cell], folder: Path, options: Options) -> str:
    place = folder.absolute() / "slurm"
    if place.is_symlink():
        raise linked(place)
    name = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', folder.name)[:40]}-{secrets.token_hex(4)}"
    made = [path for path in (place, *place.parents) if not path.exists()]
    record = {"name": name, "job": "", "cells": [cell.name for cell in cells]}
    try:
        (place / name).mkdir(parents=True)
        write_json(place / f"{name}.json", record)
        job = _sbatch(cells, place / name, options)
        write_json(place / f"{name}.json", record | {"job": job})
    except BaseException as error:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # Slurm may have accepted it before the interruption
            subprocess.run(["scancel", f"--name={name}"], capture_output=True, timeout=60)
        shutil.rmtree(place / name, ignore_errors=True)
        (place / f"{name}.json").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()
        if isinstance(error, OSError):
            raise Refused(f"{place} cannot be written: {error.strerror or error}") from error
        raise
    return job


def _sbatch(cells: Sequence[Cell], folder: Path, options: Options) -> str:
    import submitit

    minutes, cpus = options.slurm_time, options.slurm_cpus
    extra: dict[str, Any] = {"requeue": True} | {k: True if v == "true" else v for k, v in options.slurm_option}
    extra |= {"mem": options.slurm_memory} if options.slurm_memory else {}
    extra |= {"gpus_per_node": options.slurm_gpus} if options.slurm_gpus else {}
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=10**6)  # `CellTask` counts time limits
    executor.update_parameters(
        job_name=folder.name, partition=options.slurm_partition, time=minutes, ntasks_per_node=1, cpus_per_task=cpus, wckey=None,
        signal_delay_s=_notice(minutes),
        setup=[f"cd {shlex.quote(os.getcwd())} || exit 1", f"export OMP_NUM_THREADS={cpus} PYTHONSAFEPATH=1",
               f"export PYTHONPATH={shlex.quote(str(PROJECT))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        srun_args=["--export=ALL", f"--cpus-per-task={cpus}"],  # since Slurm 22.05, srun does not take the latter from sbatch
        additional_parameters=extra,
    )  # fmt: skip
    own = {"gpu": 0} if options.slurm_gpus else {}  # the devices of a job are numbered from 0
    tasks = [CellTask(replace(cell.options, **own), minutes) for cell in cells]
    given = {*OURS, *extra, "time", "cpus_per_task", *(["partition"] if options.slurm_partition else [])}
    try:
        with _environment(given), contextlib.redirect_stderr(io.StringIO()):  # submitit also prints the errors that it raises
            return executor.submit_array(tasks)[0].job_id.partition("_")[0]
    except RuntimeError as error:
        message = message_of(str(error))
        raise (RunFailed if UNREACHABLE.search(message) else Refused)(f"sbatch: {message}") from error


def _notice(minutes: int) -> int:
    """Return the seconds before the time limit at which Slurm signals the task.

    They are submitit's 90, or less in a job of a few minutes.
    """
    return min(90, 15 * minutes)


@contextlib.contextmanager
def _environment(given: set[str]) -> Iterator[None]:
    """Hide environment variables from sbatch.

    They are those that would override its script, and those that an enclosing job would pass on to the new ones.
    """
    hidden = {f"SBATCH_{VARIABLES.get(name, name.upper())}" for name in given}
    if "SLURM_JOB_ID" in os.environ:
        hidden |= {k for k in os.environ if k.startswith("SLURM_") and k not in ("SLURM_CONF", "SLURM_CLUSTERS")}
    kept = {k: os.environ.pop(k) for k in hidden if k in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
