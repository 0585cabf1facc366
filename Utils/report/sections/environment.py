"""Environment: machines, versions, commits and command lines."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

import pandas as pd

from Utils.report.blocks import Commands, Note, Section, Table, Warnings
from Utils.report.collect import Collection
from Utils.report.report_run import Run

MODIFIED = "Some runs were made with a modified copy of the program: its commit is not the whole truth."
LOADS = "Load averages of the machines, over a minute, when runs began and ended: from {:.2f} to {:.2f}."
SEVERAL = "The runs were not all made in one environment; times of different devices do not compare."


def environment(collection: Collection) -> Section:
    """Make the section: devices, versions, commits and command lines, each with its number of runs."""
    runs = [*collection.runs, *collection.traces, *collection.studies, *collection.regrown]
    rows = Counter(tuple(_machine(run).items()) for run in runs if run.done)
    text = pd.DataFrame([dict(key) | {"runs": str(count)} for key, count in rows.items()])
    lines = dict.fromkeys(_command_line(run) for run in runs if run["argv"])
    section = Section("Environment", [Table("environment", "Where the runs were made.", text, words=text.shape[1] - 1)])
    loads = [load for run in runs for load in (run.summary.get("load") or {}).values() if load is not None]
    if loads:
        section.blocks.append(Note(LOADS.format(min(loads), max(loads))))
    if any(run["dirty"] for run in runs):
        section.blocks.append(Warnings([MODIFIED]))
    if text.shape[0] > 1:
        section.blocks.append(Warnings([SEVERAL]))
    if lines:
        section.blocks += [Note("The command lines:"), Commands(list(lines))]
    return section


def _machine(run: Run) -> dict[str, str]:
    versions = run["versions"] if isinstance(run["versions"], dict) else {}
    commit = str(run["commit"] or "unknown")[:12] + (" (modified)" if run["dirty"] else "")
    return {
        "device": str(run["device"] or "unknown"),
        "machine": _hardware(run["machine"]),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown",
        "commit": commit,
    }


def _hardware(machine: Any) -> str:
    """Describe processor, cores and memory, then card, memory, driver and libraries."""
    if not isinstance(machine, dict):
        return "unknown"
    words = [str(machine.get("cpu")), f"{machine.get('cores')} cores", _gibibytes(machine.get("memory_bytes"))]
    if machine.get("gpu"):
        words += [str(machine["gpu"]), _gibibytes(machine.get("gpu_memory_bytes")), f"driver {machine.get('driver')}",
                  f"CUDA {machine.get('cuda')}", f"cuDNN {machine.get('cudnn')}"]  # fmt: skip
    return ", ".join(words)


def _gibibytes(count: Any) -> str:
    return f"{count / 2**30:.0f} GiB" if isinstance(count, int) else "memory unknown"


def _command_line(run: Run) -> str:
    words = [str(word) for word in run["argv"]]
    return shlex.join(["python", "main.py", *words[1:]])
