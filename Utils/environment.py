"""Where and with what a run is made."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from Utils.distributed import share

PROJECT = Path(__file__).resolve().parent.parent


def environment(device: torch.device) -> dict[str, Any]:
    """Command line, commit, whether the tree is modified, versions, device and threads."""
    return {"argv": sys.argv, **_project(), "device": device_text(device)}


def device_text(device: torch.device) -> str:
    """The device, its name and the threads, in words."""
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
    try:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
