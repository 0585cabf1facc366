"""Seconds per phase of a run, measured when the device has finished."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class Lap:
    """One measured block; `seconds` is set when it ends."""

    seconds: float = 0.0


class Clock:
    """Adds up wall-clock seconds by phase: `with clock("prune"): ...`. `seconds` maps each phase to its sum."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[Lap]:
        """Measure a block; on CUDA the device is waited for at both ends."""
        lap, began = Lap(), self._now()
        try:
            yield lap
        finally:
            lap.seconds = self._now() - began
            self.seconds[phase] += lap.seconds

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
