"""Seconds to the first result and peak memory: the cost of one command besides its arithmetic."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

STARTUP = """
import torch, time
began = time.perf_counter()
import main
from Utils.training import phase
def first(*_, **__):
    print("first step after", time.perf_counter() - began)
    raise SystemExit
phase.train_epoch = first
main.keep_freed_memory()
main.main(["--pruner", "synflow", "--compression", "1", "--no-save"])
"""

MEMORY = """
import re
from pathlib import Path
from benchmarks import rows
from Pruners._shared.loop import prune_loop
from Pruners.synflow import SynFlow
from Utils.compute.allocator import keep_freed_memory
def status(key): return 1024 * int(re.search(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
keep_freed_memory()
small = rows._problem("conv")
prune_loop(small, SynFlow(), 0.5, rounds=2)
problem = rows._problem("vgg16")
weights = sum(m.numel() * 4 for m in problem.masks)
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
prune_loop(problem, SynFlow(), 0.1, rounds=20)
print("peak", (status("VmHWM") - before) / weights)
"""


def _last_number(code: str) -> float:
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    return float(next(line for line in done.stdout.splitlines() if line.startswith(("first", "peak"))).split()[-1])


def _help() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "main.py", "--help"], cwd=PROJECT, capture_output=True, check=True)
    return time.perf_counter() - began


def measure(repeats: int) -> list[tuple[str, float, str, float]]:
    """Return (name, median, unit, upper limit) for start-up, help and the memory of SynFlow."""
    return [
        ("start-up to the first training step of the main command on MNIST, after the import of torch",
         statistics.median(_last_number(STARTUP) for _ in range(repeats)), "s", 4.0),
        ("`python main.py --help`", statistics.median(_help() for _ in range(repeats)), "s", 0.5),
        ("peak memory of SynFlow on vgg16 beyond the model, in multiples of its weights",
         statistics.median(_last_number(MEMORY) for _ in range(repeats)), "x", 6.0),
    ]  # fmt: skip
