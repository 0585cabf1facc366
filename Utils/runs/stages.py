"""What a run of several stages has done so far, in its checkpoint: a run that was killed goes on in the stage it was in."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from Utils.compute.clock import Clock
from Utils.runs.dense_cache import LONG, SLOW, Checkpoints
from Utils.runs.folder import RunFolder


class Progress:
    """Results of stages by name. A stage is a function of the options and of the stages before it alone.

    `folder` must have begun. By default a checkpoint is written as soon as ten seconds have passed since the last one, and after
    whatever took two; `--checkpoint-every 0` writes none.
    """

    def __init__(self, folder: RunFolder, clock: Clock, saved: dict[str, Any] | None = None) -> None:
        self._folder, self._clock = folder, clock
        self._every: int | None = folder.options.checkpoint_every
        self._done: dict[str, Any] = saved["done"] if saved else {}
        self._half: dict[str, Any] = saved["half"] if saved else {}
        self._written = time.monotonic()
        if saved:
            clock.restore(saved["clock"])

    @property
    def stages(self) -> list[str]:
        """The names of the stages that are done, in their order."""
        return list(self._done)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """The result of stage `name`: kept from before, or made now. Nested plain values and tensors."""
        if name not in self._done:
            began = time.monotonic()
            self._done[name] = make()
            self._half.pop(name, None)
            now = time.monotonic()
            if self._every or (self._every is None and (now - began >= SLOW or now - self._written >= LONG)):
                self._write()
        return self._done[name]

    def half(self, name: str) -> Any:
        """The state in which stage `name` was left, or None."""
        return self._half.get(name)

    def forget(self, name: str) -> None:
        """Drop the half state of `name`."""
        self._half.pop(name, None)

    def keeper(self, name: str) -> Callable[[int, Callable[[], Any]], None]:
        """A function (number of the step, state) to be called after each step of stage `name`; it writes what is due."""
        due: list[Callable[[], Any]] = [dict]
        checkpoints = Checkpoints(lambda _: self._keep(name, due[0]()), self._every)

        def keep(number: int, state: Callable[[], Any]) -> None:
            due[0] = state
            checkpoints(SimpleNamespace(epoch=number))  # type: ignore[arg-type]

        return keep

    def _keep(self, name: str, state: Any) -> None:
        self._half[name] = state
        self._write()

    def _write(self) -> None:
        state = {"done": self._done, "half": self._half, "clock": self._clock.state()}
        self._folder.write_checkpoint(state, changing=())
        self._written = time.monotonic()
