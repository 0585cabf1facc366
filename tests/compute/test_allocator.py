"""Freed memory is kept where the C library can do it."""

from __future__ import annotations

import platform
import subprocess
import sys

from conftest import PROJECT


def test_freed_memory_is_kept_on_glibc():
    """In a process of its own: the setting cannot be taken back."""
    code = (
        "import resource, torch\nfrom Utils.compute.allocator import keep_freed_memory\nkept = keep_freed_memory()\n"
        "for _ in range(30): torch.ones(1 << 23)\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10): torch.ones(1 << 23)\n"
        "print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == str(platform.libc_ver()[0] == "glibc")
    assert kept == "False" or int(faults) < 8192  # ten times 32 MiB are 81920 pages
