"""How the runs of a report were made: machines, versions, commands, options."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

import pandas as pd

from Utils.options import INCIDENTAL
from Utils.report.blocks import Block, Commands, Note, Section, Table, Warnings
from Utils.report.groups import Group
from Utils.report.runs import BESIDE, Collection, Run

# Options that the tables themselves vary, or that name places.
VARIED = {"pruner", "compression", "density", "sparsity", "seed", *BESIDE, *INCIDENTAL}
MODIFIED = "Some runs were made with a modified copy of the program: its commit is not the whole truth."
LOADS = "Load averages of the machines, over a minute, when runs began and ended: from {:.2f} to {:.2f}."
SEVERAL = "The runs were not all made in one environment; times of different devices do not compare."


def environment(collection: Collection) -> Section:
    """Devices, versions, commits and command lines, each with the number of runs that it holds for."""
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


def settings(groups: list[Group]) -> Section:
    """Every option of the runs: one value where all share it, else each value with the tables or methods that have it."""
    runs = [(run, group) for group in groups for run in group.all]
    names = dict.fromkeys(name for run, _ in runs for name in run.options if name not in VARIED)
    shared, rows = [], []
    for name in names:
        values: dict[str, list[str]] = {}
        for run, group in runs:
            if name in run.options and (name, run[name]) != ("scale", 1):
                values.setdefault(text_of(run[name]), []).append(_place(run, group))
        if len(values) < 2:
            shared += [f"{name.replace('_', ' ')}: {value}" for value in values]
            continue
        for value, whose in values.items():
            rows.append({"option": name.replace("_", " "), "value": value, "for": _whose(whose, groups)})
    blocks: list[Block] = [Note(f"All runs have {'; '.join(shared)}.")] if shared else []
    if rows:
        blocks.append(Table("settings-that-differ", "Options that are not the same for all runs.", pd.DataFrame(rows), words=3))
    return Section("Settings", blocks)


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
    """Processor, cores and memory, then card, memory, driver and libraries."""
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


def _whose(whose: list[str], groups: list[Group]) -> str:
    """Methods and tables, shortened where a whole table has the value."""
    left, words = set(whose), []
    for group in groups:
        every = {_place(run, group) for run in group.all}
        if every <= left:
            left -= every
            words.append(group.label if len(groups) > 1 else "all")
    return "; ".join([*words, *sorted(left)])


def _place(run: Run, group: Group) -> str:
    return f"{run['pruner']} ({group.label})"


def text_of(value: Any) -> str:
    """The value of an option as a reader would write it."""
    if value is None or value in ([], (), ""):
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
