"""Queries about the tasks that `Utils/grid/slurm.py` submitted: those that Slurm still has, and why others ended.

They work without accounting, which some clusters lack.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Utils.base.errors import RunFailed

STATES = {"RUNNING": "running", "COMPLETING": "running", "CONFIGURING": "running", "SUSPENDED": "running", "STOPPED": "running",
          "SIGNALING": "running", "STAGE_OUT": "running", "RESIZING": "running", "PENDING": "pending", "REQUEUED": "pending",
          "REQUEUE_HOLD": "pending", "REQUEUE_FED": "pending", "RESV_DEL_HOLD": "pending", "SPECIAL_EXIT": "pending"}  # fmt: skip
RECORD = {"name": str, "job": str, "cells": list}  # the keys of the record of a submission
NO_REASON = "None"  # squeue's word, mostly for a running task
ENDED = "its Slurm task ended without a result"


def waiting(folder: Path) -> dict[str, tuple[str, str]]:
    """Return the grid's cells that Slurm still has, each with `pending` or `running` and Slurm's reason.

    Reasons are such as `Resources` and `PartitionTimeLimit`, with which a task never starts; a running task has none, "".

    Raises:
        RunFailed: squeue does not answer, so that the cells are unknown.
    """
    records = {record["name"]: record["cells"] for record in _records(folder)}
    if not records:
        return {}
    command = ["squeue", "--noheader", "--all", "--array", "--format=%i|%T|%j|%r", f"--name={','.join(records)}"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SQUEUE_")}  # they filter and format
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"squeue, which knows the cells that {folder / 'slurm'} submitted, failed: {error}") from error
    if done.returncode:
        raise RunFailed(f"squeue: {message_of(done.stderr)}")
    found: dict[str, tuple[str, str]] = {}
    for task, state, name, reason in (line.split("|", 3) for line in done.stdout.splitlines() if line.count("|") >= 3):
        for index in _indices(task) if state in STATES and name in records else ():
            cell = records[name][index]
            if found.get(cell, ("pending", ""))[0] == "pending":  # of two submissions, the running one counts
                found[cell] = STATES[state], reason if reason != NO_REASON else ""
    return found


def outcomes(folder: Path, cells: Sequence[str]) -> dict[str, str]:
    """Return for each of `cells` whose task ended without a result the reason, in one line.

    The reason comes from the task's log, else from sacct. Cells that were never submitted are left out.
    """
    logs: dict[str, tuple[str, Path]] = {}
    for record in (r for r in _records(folder) if r["job"]):
        for index, cell in enumerate(record["cells"]):
            task = record["job"] + (f"_{index}" if len(record["cells"]) > 1 else "")
            logs[cell] = task, folder / "slurm" / record["name"] / f"{task}_0_log.err"
    found = {cell: _reason_in_log(logs[cell][1]) for cell in cells if cell in logs}
    if unknown := {logs[cell][0]: cell for cell, why in found.items() if not why}:
        command = ["sacct", "-X", "-n", "-P", "-o", "JobID,State", "-j", ",".join(unknown)]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # accounting may be off
            answer = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
            states = dict(line.split("|", 1) for line in answer.splitlines() if "|" in line)
            found |= {unknown[task]: f"{ENDED}: {state.lower()}" for task, state in states.items() if task in unknown}
    return {cell: why or ENDED for cell, why in found.items()}


def _records(folder: Path) -> list[dict[str, Any]]:
    """Read all submissions of this grid, oldest first.

    Raises:
        RunFailed: a file is no record of a submission.
    """
    paths = sorted((folder / "slurm").glob("*.json"), key=lambda path: path.stat().st_mtime)
    try:
        return [_record(path) for path in paths]
    except (OSError, ValueError) as error:
        raise RunFailed(f"{folder / 'slurm'}: a record of a submission cannot be read: {error}") from error


def _record(path: Path) -> dict[str, Any]:
    """Read one submission: its `name`, its `job`, and its `cells` in the order of their tasks."""
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict) or not all(isinstance(record.get(key), kind) for key, kind in RECORD.items()):
        raise ValueError(f"{path.name} needs {', '.join(RECORD)}")
    return record


def _indices(task: str) -> list[int]:
    """Return the indices in a task's name.

    Examples: `12_3` -> [3], `12_[0-2,5%4]` -> [0, 1, 2, 5], and `12`, a job without an array, -> [0].
    """
    spans = re.findall(r"(\d+)(?:-(\d+))?", task.partition("_")[2].partition("%")[0])
    return [i for first, last in spans for i in range(int(first), int(last or first) + 1)] or [0]


def _reason_in_log(log: Path) -> str:
    """Read the reason why a task ended from the end of its standard error, where Slurm writes too; "" if there is none."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace")[-8000:].splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        if "DUE TO TIME LIMIT" in line:
            return "its Slurm task was stopped at the time limit, --slurm-time"
        if re.search(r"oom.kill|out of memory", line, re.I):
            return "its Slurm task was killed for its memory, --slurm-memory"
        if "DUE TO NODE FAILURE" in line:
            return "the node of its Slurm task failed"
        if "CANCELLED AT" in line and "DUE TO" not in line:
            return "its Slurm task was cancelled"
    said = [line.strip() for line in lines if line.strip() and "submitit INFO" not in line]
    said = [line for line in said if not line.startswith(("srun:", "slurmstepd"))] or said  # the task's own lines tell more
    return f"{ENDED}: {said[-1][:200]}" if said else ""


def message_of(message: str) -> str:
    """Put a message of one of Slurm's programs on one line, without the program's name."""
    lines = (re.sub(r"^\w+: (error|fatal): ", "", line.strip()) for line in message.splitlines())
    return "; ".join(line for line in lines if line) or "no reason given"
