"""A live view of training: scalars and histograms of a run as event files, which TensorBoard shows (`--tensorboard`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from Models.masking import Prunable
    from Utils.training.phase import Training

FOLDER, FILES = "tensorboard", "events.out.tfevents.*"
SCALARS = ("train_loss", "test_loss", "top1_accuracy", "top5_accuracy", "lr")  # the columns 1 to 5 of the rows of a training
BINS = 60  # the default of `--experiment histogram`
HISTOGRAMS = 10  # approximate number in a phase, besides those of its start and end
Watch = Callable[["Training", int], None]


class EventLog:
    """The event files of a run.

    A step is an epoch of training, counted through all phases of the run; tags begin with the phase. With one count for all
    phases, a resumed run can drop the events that an earlier process wrote after the checkpoint: TensorBoard drops events by
    step, whatever their tag.

    Args:
        path: the run's folder; the files are in its `tensorboard/`.
        active: whether the run writes events.
        made: called with each new file, as FOLDER/NAME, which TensorBoard chooses, before the file holds any value.
    """

    def __init__(self, path: Path, active: bool, made: Callable[[str], None]) -> None:
        self._path, self.active, self._made = path / FOLDER, active, made
        self._begun = self._goes_on = False
        self._waiting: list[tuple[int, str, Any]] = []  # kept until the run has begun, as it may still be refused
        self._writer: SummaryWriter | None = None

    def begin(self, goes_on: bool = False) -> None:
        """Write the events that waited, and all later ones; a run that `goes_on` has the events up to its checkpoint already."""
        self._begun, self._goes_on = True, goes_on and any(self._path.glob(FILES))
        if self._goes_on:
            self._waiting.clear()

    def watch(self, before: int = 0) -> Watch | None:
        """Return the `watch` of a training that begins after `before` epochs of the run; None if the log is not active."""
        if not self.active:
            return None
        written: int | None = None

        def log(training: Training, epochs: int) -> None:
            nonlocal written
            if written is None:  # the first rows are those of an earlier process, or of the cached dense network
                written = len(training.rows) - 1 if self._goes_on else 0
            for index, row in enumerate(training.rows[written:], start=written):
                scalars = zip(SCALARS, row[1:], strict=False)
                self._add(before + index, {f"{training.phase}/{name}": value for name, value in scalars if value is not None})
            written = len(training.rows)
            if _is_due(training.epoch, training.first, epochs):
                found = {f"{training.phase}_weights/{p.name.removesuffix('.weight')}": _counted(p) for p in training.prunables}
                self._add(before + written - 1, {tag: bins for tag, bins in found.items() if bins})
            self._write()

        return log

    def _add(self, step: int, values: dict[str, Any]) -> None:
        self._waiting += [(step, tag, value) for tag, value in values.items()]

    def _write(self) -> None:
        if not self._begun:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # TensorBoard reads files in the order of their names, which contain the second: two of one second could be swapped.
            while any(self._path.glob(f"{FILES[:-1]}{int(time.time()):010d}.*")):
                time.sleep(0.05)
            before = set(self._path.glob(FILES))
            self._writer = SummaryWriter(str(self._path), purge_step=self._waiting[0][0] if self._goes_on else None)
            for file in set(self._path.glob(FILES)) - before:
                self._made(f"{FOLDER}/{file.name}")
        for step, tag, value in self._waiting:
            if isinstance(value, dict):
                self._writer.add_histogram_raw(tag, global_step=step, **value)
            else:
                self._writer.add_scalar(tag, value, step)
        self._waiting.clear()
        self._writer.flush()  # before the checkpoint of this epoch, so that no event before the checkpoint is missing

    def close(self) -> None:
        """Close the file; later events are dropped."""
        if self._writer is not None:
            self._writer.close()


def _is_due(epoch: int, first: int, epochs: int) -> bool:
    """Tell whether weights are counted after `epoch` of a training from `first` to `epochs`."""
    return epoch in (first, epochs) or epoch % max(1, math.ceil(epochs / HISTOGRAMS)) == 0


def _counted(p: Prunable) -> dict[str, Any] | None:
    """Return the histogram of the finite kept weights, for `SummaryWriter.add_histogram_raw`; None if there are none."""
    import numpy as np  # imported here, as the help does not need it

    from Utils.measure.weight_histogram import count, edges

    kept = p.weight.detach()[p.mask != 0].float().cpu().numpy()
    kept = kept[np.isfinite(kept)]
    if not len(kept):
        return None
    bins = count(kept, edges(float(np.abs(kept).max()), BINS))
    exact = kept.astype(np.float64)
    return {
        "min": float(kept.min()), "max": float(kept.max()), "num": len(kept), "sum": float(exact.sum()),
        "sum_squares": float((exact**2).sum()),
        "bucket_limits": bins.edges.tolist(), "bucket_counts": [0, *bins.counts.tolist()],  # a limit ends its bucket
    }  # fmt: skip
