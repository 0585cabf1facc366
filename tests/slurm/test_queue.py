"""What Slurm says of the tasks of a grid, with programs that only look like Slurm's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from programs import pretend

from Utils.base.errors import RunFailed
from Utils.grid import slurm, slurm_queue

FOLDER = Path("Results/data/singleshot/my sweep")


@pytest.fixture
def program(tmp_path, monkeypatch):
    return pretend(tmp_path, monkeypatch)


def record(name: str, job: str, names: list[str]) -> Path:
    place = FOLDER / "slurm"
    (place / name).mkdir(parents=True)
    (place / f"{name}.json").write_text(json.dumps({"name": name, "job": job, "cells": names}))
    return place / name


@pytest.mark.parametrize(("task", "indices"), [
    ("12_3", [3]), ("12_[0-3]", [0, 1, 2, 3]), ("12_[0-2,5%4]", [0, 1, 2, 5]), ("12_[7]", [7]), ("12", [0]),
])  # fmt: skip
def test_numbers_of_tasks(task, indices):
    assert slurm_queue._indices(task) == indices


def test_cells_that_slurm_still_has(program, monkeypatch):
    """All submissions in one call; ranges, states, reasons; jobs of other names and tasks that ended are none of ours."""
    record("a", "12", ["c0", "c1", "c2", "c3", "c4", "c5"])
    record("b", "20", ["c5"])
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    program("squeue", """[ -z "$SQUEUE_STATES" ] || exit 1
        echo "$@" > asked
        echo "12_0|RUNNING|a|None"
        echo "12_[2-3%8]|PENDING|a|Resources"
        echo "12_1|COMPLETED|a|None"
        echo "12_4|REQUEUE_HOLD|a|job requeued in held state"
        echo "12_5|PENDING|a|Priority"
        echo "20|COMPLETING|b|None"
        echo "99|RUNNING|other|None" """)  # fmt: skip
    assert slurm.waiting(FOLDER) == {
        "c0": ("running", ""), "c2": ("pending", "Resources"), "c3": ("pending", "Resources"),
        "c4": ("pending", "job requeued in held state"), "c5": ("running", ""),
    }  # fmt: skip
    asked = Path("asked").read_text()
    assert "--array" in asked and "--all" in asked and ("--name=a,b" in asked or "--name=b,a" in asked)


def test_no_answer_is_not_taken_for_no_tasks(program):
    assert slurm.waiting(FOLDER) == {}  # nothing was submitted: squeue, which fails here, is not asked
    record("a", "12", ["c0"])
    program("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1")
    with pytest.raises(RunFailed, match=r"^squeue: slurm_load_jobs error: Unable to contact slurm controller \(connect failure\)$"):
        slurm.waiting(FOLDER)


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"name": "a", "job": 12, "cells": []}'])
def test_what_is_no_record_of_a_submission_is_named(program, text):
    (FOLDER / "slurm").mkdir(parents=True)
    (FOLDER / "slurm" / "a.json").write_text(text)
    with pytest.raises(RunFailed, match="a record of a submission cannot be read"):
        slurm.waiting(FOLDER)


@pytest.mark.parametrize(("log", "why"), [
    ("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", "its Slurm task was stopped at the time limit, --slurm-time"),
    ("slurmstepd: error: Detected 1 oom_kill event in StepId=12.0.", "its Slurm task was killed for its memory, --slurm-memory"),
    ("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS ***", "the node of its Slurm task failed"),
    ("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***", "its Slurm task was cancelled"),
    ("ImportError: no module x\nsrun: error: n1: task 0: Exited with exit code 1", "its Slurm task ended without a result: ImportError: no module x"),
    ("slurmstepd: error: *** JOB 12 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO JOB REQUEUE ***\nSystemError: x", "its Slurm task ended without a result: SystemError: x"),
])  # fmt: skip
def test_why_a_task_ended(program, log, why):
    folder = record("a", "12", ["c0", "c1"])
    (folder / "12_1_0_log.err").write_text(f"submitit INFO - Starting\n{log}\n")
    assert slurm.outcomes(FOLDER, ["c1", "c0", "never submitted"]) == {
        "c1": why, "c0": "its Slurm task ended without a result",
    }  # fmt: skip


def test_why_a_task_ended_by_accounting(program):
    record("a", "12", ["c0", "c1"])
    record("b", "13", ["c2"])
    program("sacct", """case "$*" in *" -j 12_1,13") echo '12_1|NODE_FAIL'; echo '13|OUT_OF_MEMORY'; esac""")
    assert slurm.outcomes(FOLDER, ["c1", "c2"]) == {
        "c1": "its Slurm task ended without a result: node_fail", "c2": "its Slurm task ended without a result: out_of_memory",
    }  # fmt: skip
