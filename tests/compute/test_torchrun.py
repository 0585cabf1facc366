"""torchrun: what it is not for, with one process, and from the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from conftest import PROJECT
from rank_jobs import LIKE_ONE, SMALL, job


@pytest.mark.parametrize("words", [["--seed-list", "1", "2", "--jobs", "2"], ["--experiment", "prune"],
                                   ["--experiment", "evaluate", "--run", "x"], ["--dry-run"]], ids=" ".join)  # fmt: skip
def test_what_torchrun_is_not_for(refused, monkeypatch, words):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(words, "torchrun", "run", "without torchrun")


def test_torchrun_with_one_process_changes_nothing(command, monkeypatch):
    words = [*SMALL, *LIKE_ONE["fc"], "--no-save"]
    before = timeless_lines(command(*words).out)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, str(int(name == "WORLD_SIZE")))
    assert timeless_lines(command(*words).out) == before


def timeless_lines(text):
    measured = (" ms a batch", " in turn", "Inference, ")  # lines with times, ratios of times and load averages
    return [line for line in text.splitlines() if not any(words in line for words in measured)]


@pytest.mark.long
def test_under_torchrun(tmp_path):
    """It ends all processes when one has failed: the line must have been printed by then."""
    shell = ["unshare", "-n", "bash", "-c", 'ip link set lo up; exec "$@"', "_"]  # its port must not be open to others
    if subprocess.run([*shell, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network of the test's own is not permitted here")
    launch = [*shell, sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", PROJECT / "main.py", *job("fc")]

    def run(*words):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run([*launch, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)

    done = run()
    assert done.returncode == 0 and done.stdout.count("Train results") == 1, done.stderr
    done = run("--bogus")
    assert done.returncode == 1 and done.stderr.count("main.py: error:") == 1 and "exitcode  : 2" in done.stderr
