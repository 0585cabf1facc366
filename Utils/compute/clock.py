"""Seconds and peak memory per phase of a run, measured when the device has finished.

Seconds in which a run waits for others that take turns with it do not count (`Utils/base/turns.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from Utils.base import turns
from Utils.compute.memory import PeakMemory


@dataclass
class Lap:
    """One measured block; `seconds` is set when it ends."""

    seconds: float = 0.0


class Clock:
    """Measures phases: `with clock("prune"): ...`.

    Attributes:
        seconds: phase -> wall-clock seconds, added up.
        peaks: phase -> the largest memory use in it, in bytes.
        memory: the meter of memory; its `of` says which memory it measures.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.memory = PeakMemory(device)
        self.seconds: dict[str, float] = defaultdict(float)
        self.peaks: dict[str, int] = defaultdict(int)
        self._apart = 0.0

    def state(self) -> dict[str, dict[str, float]]:
        """Return the seconds and peaks measured so far."""
        return {"seconds": dict(self.seconds), "peaks": dict(self.peaks)}

    def restore(self, state: dict[str, dict[str, float]]) -> None:
        """Continue from `state`."""
        self.seconds.update(state["seconds"])
        self.peaks.update(state["peaks"])

    @contextmanager
    def __call__(self, phase: str) -> Iterator[Lap]:
        """Measure a block; on CUDA, wait for the device at both ends."""
        self.memory.reset()
        lap, apart, began = Lap(), self._apart, self._now()
        try:
            yield lap
        finally:
            lap.seconds = self._now() - began - (self._apart - apart)
            self.seconds[phase] += lap.seconds
            self.peaks[phase] = max(self.peaks[phase], self.memory.read())

    @contextmanager
    def apart(self, phase: str) -> Iterator[None]:
        """Measure a block within another one, whose seconds it takes away; its memory counts for the other one."""
        began = self._now()
        try:
            yield
        finally:
            seconds = self._now() - began
            self._apart += seconds
            self.seconds[phase] += seconds

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return turns.seconds()
