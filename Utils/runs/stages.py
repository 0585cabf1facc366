"""The one way to resume: a run is a sequence of named stages, and a killed run continues in its unfinished stage.

A fault in resuming is found in five files:

- this one: the finished stages, the half-finished one, and the times of checkpoints;
- `earlier_checkpoints.py`: the checkpoints of earlier versions, in the layout of this one;
- `folder.py` (`resume`, `write_checkpoint`): the checkpoint of a run, and whether its folder has changed since;
- `cache.py`: the checkpoint of a result that runs share, and the choice of the process that makes it;
- `Utils/training/phase.py` (`state`, `restore`): the state of a training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from Models.masking import keep_recorded
from Utils.base.progress_bar import enter_part
from Utils.compute.clock import Clock
from Utils.runs.earlier_checkpoints import in_stages
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Training

SLOW, LONG = 2.0, 10.0  # seconds of a step that gets its own checkpoint; seconds between other checkpoints
TABLE = "columns of a table"  # the key of a table in a checkpoint


class Store(Protocol):
    """The place of a checkpoint: a `RunFolder` or a `CacheEntry`."""

    @property
    def path(self) -> Path | None:
        """The run's folder, or the file of the shared result."""

    def resume(self) -> dict[str, Any] | None:
        """Read the last checkpoint, on all ranks; None if the work starts from the beginning."""

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        """Save `state` in place of the checkpoint before."""


class Cadence:
    """The steps and stages after which a checkpoint is due: the steps that `--checkpoint-every` names, and every stage.

    By default (None) a checkpoint is due after a step or stage of two seconds or more, and after any once ten seconds have
    passed since the last checkpoint. 0 means never. The time in which a checkpoint is written counts for neither.
    """

    def __init__(self, every: int | None) -> None:
        self._every = every
        self.restart()

    def restart(self) -> None:
        """Count the seconds from now on: a checkpoint has just been written."""
        self._written = time.monotonic()

    def is_due(self, began: float, step: int | None = None) -> bool:
        """Tell whether a checkpoint is due after the step number `step`, or a stage, that began at `began` and ended now."""
        if self._every is None:
            now = time.monotonic()
            return now - max(began, self._written) >= SLOW or now - self._written >= LONG
        return self._every > 0 and (step is None or step % self._every == 0)


class Stages:
    """The results of the finished stages of a run by name, and the state of the half-finished stage.

    The stages of regrowth return everything as their results, and a checkpoint is written after each when it is due.

    The stages of a run that prunes and trains change one `network` in place. Their results are written together with the next
    half state of a training, which includes the network.

    Args:
        store: the place of checkpoints. A run folder need not have begun.
        every: `--checkpoint-every` (see `Cadence`).
        clock: continues from the seconds of the checkpoint.
        network: the network that the stages change in place.
    """

    def __init__(self, store: Store, every: int | None, clock: Clock | None = None, network: MaskedNetwork | None = None) -> None:
        self._store, self._every, self._clock, self._network = store, every, clock, network
        self._cadence = Cadence(every)
        saved = in_stages(store.resume(), store.path)
        self._done: dict[str, Any] = _unpacked(saved["done"])
        self._half: dict[str, Any] = saved["half"]
        self._whole: dict[str, Any] | None = saved.get("network")
        if clock and "clock" in saved:
            clock.restore(saved["clock"])
        if network and self._whole:
            network.load(self._whole)
        elif network:
            for state in self._half.values():  # of a training, which is restored when its stage continues
                keep_recorded(network.prunables, state["model"])

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the result of stage `name`, made now unless the checkpoint has it.

        A result consists of nested plain values, tensors and tables.
        """
        if name not in self._done:
            began = time.monotonic()
            self._done[name] = make()
            self._half = {}
            if self._network is None and self._cadence.is_due(began):
                self._write()
        return self._done[name]

    @property
    def last(self) -> str | None:
        """The name of the last finished stage."""
        return next(reversed(self._done), None)

    def half(self, name: str) -> Any:
        """Return the state in which stage `name` was left, or None."""
        return self._half.get(name)

    def clock_before(self, name: str) -> Clock | None:
        """Return the clock for work that stage `name` begins with; None if the stage was left half done, and the work repeats."""
        return self._clock if self.half(name) is None else None

    def keeper(self, name: str) -> Callable[[int, Callable[[], Any]], None]:
        """Return a function (number of the step, state) to call after each step of stage `name`; it writes due checkpoints."""
        return self._after_steps(lambda state: self._keep(name, state()))

    def _after_steps(self, write: Callable[[Any], None]) -> Callable[[int, Any], None]:
        """Return a function (number of the step, argument of `write`) to call after each step; it calls `write` when due."""
        began = time.monotonic()

        def after_step(number: int, argument: Any) -> None:
            nonlocal began
            if self._cadence.is_due(began, number):
                write(argument)
            began = time.monotonic()

        return after_step

    def train(
        self,
        name: str,
        training: Training,
        *,
        begins: str = "",
        of: object = None,
        save_rows: Callable[[pd.DataFrame], object] | None = None,
        state: Callable[[], dict[str, Any]] | None = None,
        followed: bool = False,
    ) -> pd.DataFrame:
        """Do `training` as stage `name`, from the point where it was left; return the rows (see `Training.run`).

        Args:
            name: the name of the stage.
            training: a new training, whose network is in the state in which the training begins.
            begins: the line to print if the training begins.
            of: the end of the line "Going on after epoch 3 of ...", printed if the training continues; default: no line.
            save_rows: called with the rows so far before each checkpoint.
            state: makes a half state; default: `training.state`.
            followed: whether other stages follow; then a checkpoint is written at the end too, unless `every` is 0.
        """
        enter_part(name)
        if (half := self.half(name)) is None:
            if begins:
                print(begins)
        else:
            training.restore(half)
            if of is not None:
                print(f"Going on after epoch {training.epoch} of {of}.")

        def keep(now: Training) -> None:
            if save_rows:
                save_rows(now.table())
            self._keep(name, (state or now.state)(), now)

        after_step = self._after_steps(keep)
        rows = training.run(training.epochs, lambda now: after_step(now.epoch, now))
        if followed and self._every != 0:
            keep(training)
        return rows

    def _keep(self, name: str, state: Any, training: Training | None = None) -> None:
        """Write a checkpoint in the middle of stage `name`; the network is in `state` unless another one is trained."""
        self._half = {name: state}
        if self._network and training:
            apart = training.model is not self._network.model
            self._whole = self._network.model.state_dict() if apart else None
        self._write()

    def _write(self) -> None:
        state: dict[str, Any] = {"done": _packed(self._done), "half": self._half}
        if self._clock:
            state["clock"] = self._clock.state()
        if self._whole:
            state["network"] = self._whole
        self._store.write_checkpoint(state)
        self._cadence.restart()


def _packed(value: Any) -> Any:
    """Convert every table in `value` to plain values: column -> [type, values], missing ones None."""
    if isinstance(value, pd.DataFrame):
        columns = {name: [None if pd.isna(v) else v for v in value[name].tolist()] for name in value}
        return {TABLE: {name: [str(value[name].dtype), values] for name, values in columns.items()}}
    if isinstance(value, dict):
        return {k: _packed(v) for k, v in value.items()}
    return [_packed(v) for v in value] if isinstance(value, list | tuple) else value


def _unpacked(value: Any) -> Any:
    """Undo `_packed`."""
    if isinstance(value, Mapping):
        if value.keys() == {TABLE}:
            return pd.DataFrame({name: pd.Series(v, dtype=dtype) for name, (dtype, v) in value[TABLE].items()})
        return {k: _unpacked(v) for k, v in value.items()}
    return [_unpacked(v) for v in value] if isinstance(value, list | tuple) else value
