"""The lines of an estimate: for a grid, and for a single run."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import torch

from Utils.base.errors import Refused
from Utils.base.progress_bar import interval
from Utils.base.text import counted
from Utils.compute.device import device_of
from Utils.compute.environment import load_average
from Utils.data.open_set import Datasets
from Utils.grid.estimate import ESTIMATED, ORDER, Estimate, estimate
from Utils.grid.grid_folder import State
from Utils.grid.workers import cores
from Utils.options.types import Cell, Grid, Options

ESTIMATE_NOTE = (
    "measured here and now on random images, within 10 s; dense training counts once for all runs that share it; reading large "
    "images during training and the compiler come on top"
)
ROOM = 0.3  # processes of others beside which a machine counts as steady


def print_estimate(plan: Grid, states: Mapping[str, State], datasets: Datasets) -> None:
    """Print roughly how long `plan` still takes, and what the number includes; `states` are those of its cells."""
    began = time.thread_time()  # imports, options and checks of this process
    left = [cell for cell in plan.cells if states[cell.name].status != "done"]
    if not left:
        return
    if (reason := _not_estimated(left[0].options)) or plan.launcher != "local":
        print(reason or "Time left: not estimated, for the cells run on other machines; --launcher local measures on this one")
        return
    found = estimate(left, datasets, plan.jobs)
    at_once = _at_once(plan)
    before, computing = began + found.reading, max(found.total / at_once, found.longest)
    if plan.jobs > 1:  # each worker begins as the program does, and reads the data again
        before += (began + found.reading) * max(1.0, plan.jobs / _cpus())
    more = f" ({_clock(found.total)} of computing, {at_once} at a time)"
    _print(found, before, computing, more, at_once)


def print_estimate_of_run(options: Options) -> None:
    """Print roughly how long a single run still takes."""
    began = time.thread_time()
    if reason := _not_estimated(options):
        print(reason)
        return
    try:
        found = estimate([Cell(options.experiment, {}, options)], Datasets())
    except Refused as error:
        print(f"Time left: not estimated ({error})")
        return
    _print(found, began + found.reading, found.total, "", 1)


def _not_estimated(options: Options) -> str:
    """Return the line for an experiment whose time is not estimated; "" for any other."""
    return "" if options.experiment in ESTIMATED else f"Time left: not estimated for --experiment {options.experiment}"


def _print(found: Estimate, before: float, computing: float, more: str, at_once: int) -> None:
    for line in found.measured:
        print(f"  {line}")
    for name, reason in found.unknown.items():
        print(f"  {name}: could not be measured ({reason})")
    if not found.measured or not found.parts:
        return
    least = before + computing
    most, busy = _clock(least / found.share), ": the machine is busy now" if _is_busy(at_once) else ""
    without = f"; without {counted(len(found.unknown), 'run')} that could not be measured" if found.unknown else ""
    between = f"between {_clock(least)} and {most}" if busy and _clock(least) != most else f"about {most}"
    print(f"Time left: {between}{busy}{more}{without}")
    parts = [("start-up and reading", before), *((name, found.parts[name]) for name in ORDER)]
    print("  " + ", ".join(f"{name} {_clock(part)}" for name, part in parts if part >= 0.5))
    for note in found.notes:
        print(f"  {note}")
    print(f"  {ESTIMATE_NOTE}")


def _clock(seconds: float) -> str:
    return interval(round(seconds))


def _is_busy(at_once: int) -> bool:
    """Tell whether other processes use the cores that runs need: by the load average of the last minute."""
    load = load_average()
    return load is not None and load + min(at_once * cores(), _cpus()) > _cpus() + ROOM


def _cpus() -> int:
    """Count the CPU cores that all processes of a grid have together."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _at_once(plan: Grid) -> int:
    """Return the number of cells that have their own device: `--jobs`, at most the number of CUDA devices, or of CPU cores."""
    return min(plan.jobs, torch.cuda.device_count() if device_of(plan).type == "cuda" else _cpus())
