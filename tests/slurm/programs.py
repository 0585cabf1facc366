"""Programs that only look like Slurm's."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """A function that puts a shell script on PATH, where until then each of Slurm's programs fails; `folder`/work is entered."""
    programs = folder / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for name in [n for n in os.environ if n.startswith(("SBATCH_", "SQUEUE_", "SLURM_"))]:
        monkeypatch.delenv(name)
    (folder / "work").mkdir()
    monkeypatch.chdir(folder / "work")

    def make(name: str, script: str) -> None:
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(stat.S_IRWXU)

    for name in ("sbatch", "srun", "squeue", "scancel", "scontrol", "sacct"):
        make(name, "exit 1")
    return make
