"""The environment of a run: its command line, code, versions, device and machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from Utils.compute.processes import share

PROJECT = Path(__file__).resolve().parents[2]
CPUINFO, DRIVER = Path("/proc/cpuinfo"), Path("/proc/driver/nvidia/version")


def environment(device: torch.device) -> dict[str, Any]:
    """Return command line, commit, whether the tree is modified, versions, device and threads, and the machine."""
    return {"argv": sys.argv, **_project(), "device": device_text(device), "machine": machine(device)}


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the processor, the cores that this process may use, memory in bytes and load.

    For a CUDA device it adds name, memory, driver, CUDA and cuDNN. A value that cannot be found out is None.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"cpu": processor(), "cores": cores, "memory_bytes": _memory(), "load": load_average()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "driver": driver_version(),
                  "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}  # fmt: skip
    return found


@cache
def processor() -> str:
    """Return the name of the CPU as the system has it."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        named = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        named = _output("sysctl", "-n", "machdep.cpu.brand_string") if sys.platform == "darwin" else None
    return named or platform.processor() or platform.machine()


@cache
def driver_version() -> str | None:
    """Return the version of NVIDIA's driver; None where it cannot be found out."""
    with contextlib.suppress(OSError):
        found = re.search(r"\b\d{3,}\.\d[\d.]*", DRIVER.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[0]
    told = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return told.splitlines()[0] if told else None


def load_average() -> float | None:
    """Return the mean number of processes that ran or waited for a core in the last minute.

    It is None where the system does not tell it.
    """
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return None


def device_text(device: torch.device) -> str:
    """Describe the device, its name and the threads in words."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    threads = torch.get_num_threads()
    ranks = f", {share()[1]} processes" if share()[1] > 1 else ""
    return f"{device.type}: {name}, {threads} thread{'s' * (threads > 1)}{ranks}"


@cache
def _project() -> dict[str, Any]:
    packages = ("torch", "torchvision", "numpy", "pandas")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
    }


def _git(*words: str) -> str | None:
    return _output("git", *words)


def _output(*words: str) -> str | None:
    """Run a program in the project's folder and return its output; None where it fails or does not exist."""
    try:
        done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
