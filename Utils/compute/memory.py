"""Peak memory of a phase: allocated on a CUDA device, or resident in the process on a CPU."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch

from Utils.compute.allocator import give_back_freed_memory

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


class PeakMemory:
    """The largest memory use since `reset`, in bytes.

    On CUDA that is `torch.cuda.max_memory_allocated`. On a CPU it is the peak of the process' resident memory as Linux counts it,
    which includes Python, libraries and data. Where that peak cannot be reset, it is the peak of the whole process so far.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.of = "allocated on the CUDA device" if device.type == "cuda" else "resident memory of the process"

    def reset(self) -> None:
        """Begin to count from the memory in use now; freed memory goes back to the system first."""
        if self._device.type == "cuda":
            torch.cuda.init()  # before a card is used, its statistics can be read but not reset
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        give_back_freed_memory()
        try:
            RESET.write_text("5")
        except OSError:
            self.of = "resident memory of the process, peak since it began"

    def read(self) -> int:
        """Return the peak since `reset`."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        try:
            line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        except (OSError, StopIteration):
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
