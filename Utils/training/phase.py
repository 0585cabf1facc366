"""Training: the epochs of a phase, each with its evaluation. A phase can stop after any epoch and continue later."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from Models.masking import apply_masks, hold_masks, load_state
from Pruners._shared.updates import MaskUpdates
from Utils.base.errors import RunFailed
from Utils.base.progress_bar import TESTED, TRAINED, RunProgress, run_progress
from Utils.base.seeds import derive
from Utils.compute import processes
from Utils.compute.clock import Clock
from Utils.compute.compilation import Compiled
from Utils.compute.graphs import Graphs
from Utils.data.sharding import batch_sizes
from Utils.training.batches_of_epoch import batches_of_epoch
from Utils.training.early_stopping import VALIDATION, best_index, is_over, keeps_untrained
from Utils.training.layout import in_layout
from Utils.training.loops import evaluate, train_epoch
from Utils.training.masked_network import MaskedNetwork
from Utils.training.optimizers import make_optimizer, make_schedule
from Utils.training.passes import Batches, Forward, Source

COLUMNS = ("epoch", "train_loss", "test_loss", "top1_accuracy", "top5_accuracy", "lr", "seconds")


class Diverged(RunFailed):
    """The loss is no longer finite; `rows` is the table up to and including that epoch."""

    def __init__(self, phase: str, epoch: int, rows: pd.DataFrame) -> None:
        super().__init__(f"diverged at epoch {epoch} of {phase}: the loss is not finite")
        self.phase, self.rows = phase, rows


class Training:
    """One phase of training, which can stop after any epoch and continue later with the same numbers.

    The optimizer and the schedule are new; masks hold throughout. Batch order, augmentation and dropout are functions of (seed,
    `order`, epoch).

    Several processes (see `Utils/compute/processes.py`) share every batch and the test set. They compute the same as one process
    up to rounding, with two exceptions: the random numbers that a network draws in training, and BatchNorm. Each process
    normalises by its share of the batch, and the statistics that are tested and saved are those of rank 0.

    Args:
        network: the network that is trained, and its data.
        phase: the name under which seconds are booked and a failure is reported.
        order: the name of the data order; default: the phase.
        first: the epoch at which the network stands, if it was rewound to a later one than 0.
        epochs: the last epoch of the phase, over which a cosine falls; default: `--pre-epochs` or `--post-epochs`, by `phase`.
        updates: moves the masks during training.
        watch: called after each evaluation with this object and the last epoch of `run`; it changes nothing.
    """

    def __init__(
        self,
        network: MaskedNetwork,
        phase: str,
        clock: Clock,
        *,
        order: str = "",
        first: int = 0,
        epochs: int | None = None,
        updates: MaskUpdates | None = None,
        watch: Callable[[Training, int], None] | None = None,
    ) -> None:
        self.model, self.data, self.options = network.model, network.data, network.options
        self.phase, self.clock, options = phase, clock, network.options
        self.order, self.first, self.updates = order or phase, first, updates
        self.optimizer = make_optimizer(network.model, options.optimizer, options.lr, options.weight_decay)
        if epochs is None:
            epochs = options.pre_epochs if phase == "pre_train" else options.post_epochs
        self.epochs = epochs
        self.scheduler = make_schedule(self.optimizer, options, epochs)
        self.precision = network.precision.anew()
        self.device = network.device
        self.compiled = Compiled(network.model, clock, wanted=options.compile)
        self.rows: list[tuple[float | None, ...]] = []
        self.columns = COLUMNS + (VALIDATION if self.data.val_size else ())
        self.patience = options.patience
        self._best: dict[str, torch.Tensor] | None = None
        self.prunables, self.watch = network.prunables, watch
        hold_masks(self.optimizer, network.prunables)

    @property
    def epoch(self) -> int:
        """The last epoch that was trained and evaluated."""
        return self.first + len(self.rows) - 1

    @property
    def _forward(self) -> Forward | None:
        """The compiled forward pass; None if the network itself is to be called."""
        return self.compiled if self.compiled.wanted else None

    @property
    def over(self) -> bool:
        """Whether `--patience` is used up."""
        return is_over(self._accuracies(), self.patience)

    def run(self, epochs: int, after_epoch: Callable[[Training], None] | None = None, *, whole: bool = True) -> pd.DataFrame:
        """Evaluate, then train up to epoch `epochs` with an evaluation after each; return a row of `columns` per evaluation.

        The first row is before training; `seconds` are those of training, without evaluation. `after_epoch` is called after each
        epoch except the last.

        With `--patience` the phase may end earlier. At the end the network gets the state with the best validation accuracy; the
        optimizer stays as it was after the last epoch. Both apply only if this is the `whole` phase.

        Raises:
            Diverged: the training loss of an epoch is not finite.
        """
        # The layout comes first: graphs and several processes hold on to the memory of the parameters.
        layout = in_layout(self.model, self.optimizer, self.precision.layout)
        with layout, self.compiled.phase(), self._shown(epochs) as self._progress:
            model = processes.parallel(self.model)
            alone = model is self.model and self.precision.scaler is None and bool(self.optimizer.defaults.get("fused"))
            self._graphs = Graphs(self.device, self.model, wanted=alone and not self.options.no_graph)
            self.compiled.after_failure = self._graphs.forget
            while self.epoch < epochs and not (whole and self.over):
                self._next(model, self.epoch + 1, epochs)
                _show(self._progress, self.phase, self.rows[-1], epochs, self.options.verbose)
                if after_epoch and self.epoch < epochs:
                    after_epoch(self)
        if whole and self._best is not None:
            load_state(self.model, self._best)
        return self.table()

    @contextmanager
    def _shown(self, epochs: int) -> Iterator[RunProgress]:
        """Give the progress of the run, with what is done of this phase."""
        trained, tested = batches_of_epoch(self.data, self.options)
        before = {TRAINED: max(len(self.rows) - 1, 0) * trained, TESTED: len(self.rows) * tested}
        units = {TRAINED: (epochs - self.first) * trained, TESTED: (epochs - self.first + 1) * tested}
        with run_progress() as progress, progress.section("training", units, before):
            yield progress

    def _next(self, model: nn.Module, epoch: int, epochs: int) -> None:
        train_loss = lr = None
        shown = self._progress
        trained, tested = batches_of_epoch(self.data, self.options)
        text = f"{self.phase} epoch {epoch}/{epochs}" if epochs else "evaluation"
        seconds = 0.0
        share = processes.share()
        if self.rows:
            lr = self.scheduler.get_last_lr()[0]
            with self.clock(self.phase) as lap, shown.work(TRAINED, trained, text):
                train_loss = self._train(model, epoch, share)
            self.scheduler.step()
            seconds = lap.seconds
        with self.clock("eval"), shown.work(TESTED, tested, text):
            test = self._test("test", self.data.test_batches(self.options.test_batch_size, share))
            validated = self._validate(share)
        self.rows.append((epoch, train_loss, *test, lr, seconds, *validated))
        if self.patience and best_index(self._accuracies()) == len(self.rows) - 1:
            self._best = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        if self.watch:
            self.watch(self, epochs)
        if train_loss is not None and not (math.isfinite(train_loss) and math.isfinite(test[0])):
            raise Diverged(self.phase, epoch, self.table())

    def _validate(self, share: tuple[int, int]) -> tuple[float, ...]:
        """Return loss and accuracy over the images held out, if there are any."""
        if not self.data.val_size:
            return ()
        return self._test("held out", self.data.val_batches(self.options.test_batch_size, share))[:2]

    def _test(self, part: str, batches: Batches) -> tuple[float, float, float]:
        source = Source(id(self.data), part, self.options.test_batch_size, decoded=self.data.decoded)
        return evaluate(self.model, batches, self.precision, self._graphs, source, self._forward)

    def _accuracies(self) -> list[float]:
        return [row[self.columns.index("val_top1")] for row in self.rows] if self.patience else []

    def _train(self, model: nn.Module, epoch: int, share: tuple[int, int]) -> float:
        """Train one epoch and return the mean loss over all images of all processes."""
        seed, batch_size, (rank, count) = self.options.seed, self.options.train_batch_size, share
        torch.manual_seed(derive(seed, self.order, epoch, *([rank] if rank else [])))  # dropout's draws
        batches = self.data.train_batches(batch_size, seed, self.order, epoch, share)
        sizes = batch_sizes(self.data.train_size, batch_size) if count > 1 else None
        after_step = self._after_step(epoch)
        source = Source(id(self.data), "train", batch_size, (seed, self.order, epoch), self.data.train_size, self.data.decoded)
        more = {"source": source, "forward": self._forward if model is self.model else None}
        loss = train_epoch(model, self.optimizer, batches, sizes, self.precision, after_step, self._graphs, **more).item()
        processes.follow_statistics(self.model)
        return processes.add_up([loss])[0] / count

    def _after_step(self, epoch: int) -> Callable[[int], None] | None:
        """Return the function that moves the masks after a step of `epoch`; it counts steps over the whole phase."""
        updates = self.updates
        if updates is None:
            return None
        before = (epoch - 1) * updates.steps_per_epoch
        return lambda step: updates.after_step(before + step, self.optimizer)

    def table(self) -> pd.DataFrame:
        """Return the rows so far."""
        return pd.DataFrame(self.rows, columns=self.columns).astype({"train_loss": float, "lr": float})

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs; tensors are not copied."""
        state: dict[str, Any] = {"best": self._best, "trained": True} if self.patience else {}
        if self.updates:
            state["updates"] = self.updates.state()
        if self.compiled.reason:
            state["uncompiled"] = self.compiled.reason
        return state | {
            "rows": self.rows,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.precision.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to `state`.

        If it has no masks, the network keeps its own; if it has no rows, the network counts as not evaluated yet. If an earlier
        version kept the network before training as the best one, the phase begins again with it: no other was kept.
        """
        if self.patience and keeps_untrained(state, self.columns.index("val_top1")):
            state = self.state() | {"rows": state["rows"][:1], "model": state["best"], "best": state["best"]}
        load_state(self.model, state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.precision.restore(state["scaler"])
        self.rows = [tuple(row) for row in state["rows"]]
        self._best = state.get("best") if self.rows else None
        if self.updates:
            self.updates.restore(state["updates"])
        if reason := state.get("uncompiled"):
            self.compiled.give_up(reason)
        apply_masks(self.prunables)


def _show(shown: RunProgress, phase: str, row: tuple[Any, ...], epochs: int, verbose: bool) -> None:
    epoch, train_loss, test_loss, top1 = row[:4]
    shown.note(f"top-1 {top1:.2f} %")
    if verbose:
        trained = "" if train_loss is None else f"train loss {train_loss:.4f}, "
        tqdm.write(f"{phase} epoch {epoch}/{epochs}: {trained}test loss {test_loss:.4f}, top-1 {top1:.2f} %, {row[6]:.1f} s")
