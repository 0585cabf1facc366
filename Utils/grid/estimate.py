"""An estimate of the time that runs will take, measured on random images without writing.

A few steps of each network are timed, and for each method a few rounds of scoring. These times are multiplied by the batches and
rounds that are left (`Utils/runs/workload.py`). Dense training counts once for all cells that share it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from Pruners._shared.base import Pruner
from Utils.base.errors import Refused
from Utils.base.progress_bar import ROUND, TRAINED
from Utils.base.text import one_line
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.data.catalogue import folder_of
from Utils.data.dataset import Dataset
from Utils.data.open_set import Datasets
from Utils.grid.stack import Stackable, size_of_stack
from Utils.grid.step_times import TRAINING, Costs, masked_network, round_cost, step_costs
from Utils.grid.stopwatch import OutOfTime, Stopwatch, at_most
from Utils.measure.inference_time import ENOUGH, PASSES, REPEATS, WARM_UP
from Utils.options.table import of_step_time
from Utils.options.types import Cell, Options
from Utils.runs.dense_cache import dense_path
from Utils.runs.made_on import precision_begun
from Utils.runs.places import path_of
from Utils.runs.progress import progress_of
from Utils.runs.stages import LONG, SLOW
from Utils.runs.workload import parts_of
from Utils.training.batches_of_epoch import batches_of_epoch
from Utils.training.set_up import load_pruner

ESTIMATED = ("singleshot", "multishot", "prune")
READING = 3.0  # seconds for reading a dataset
ORDER = ("dense training", "scoring", "epochs", "evaluations", "measurement of inference", "building and writing")
DENSE, SCORING, EPOCHS, EVALUATIONS, INFERENCE, WRITING = ORDER


@dataclass
class Estimate:
    """An estimate of seconds of computing; divided by `share` they are the seconds that pass.

    Attributes:
        parts: the sums over all cells by part of a run, without start-up and reading.
        longest: the longest cell with its dense training.
        reading: the seconds of reading the datasets.
        share: the share of the measured time in which this process had a core.
        measured: a line for each measured network.
        unknown: the cells that could not be measured, with the reason.
        notes: what is not counted.
    """

    parts: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    reading: float = 0.0
    share: float = 1.0
    measured: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        """The seconds of computing of all cells."""
        return sum(self.parts.values())


def estimate(cells: Sequence[Cell], datasets: Datasets, jobs: int = 1) -> Estimate:
    """Estimate the cost of the `cells` if `jobs` processes share the CPU cores. Finished epochs do not count."""
    found, measures = Estimate(), _Measures(cells, datasets, jobs)
    dense: set[str] = set()
    _read(cells, datasets, measures.stopwatch, found)
    for cell in cells:
        options = cell.options
        pruner = load_pruner(options)
        try:
            with at_most(measures.stopwatch.left):  # images of a folder are read when it is opened
                data = datasets.open(options, torch.device("cpu"))
            precision, costs = measures.costs(options, pruner, data, found.measured)
        except Exception as error:  # a faulty network or method must not end a dry run
            told = isinstance(error, OutOfTime | Refused)
            found.unknown[cell.name] = one_line(str(error)) if told else f"{type(error).__name__}: {one_line(str(error))}"
            continue
        path = dense_path(options, precision)
        seconds = _cell_seconds(options, data, pruner, costs, done=path is not None and (path.exists() or str(path) in dense))
        dense.add(str(path))
        found.parts.update(seconds)
        found.longest = max(found.longest, sum(seconds.values()))
    found.share = measures.stopwatch.share_of_core
    return found


def _read(cells: Sequence[Cell], datasets: Datasets, stopwatch: Stopwatch, found: Estimate) -> None:
    """Measure the reading of each dataset; one that is not there, or takes long, is named."""
    readers = [cell.options for cell in cells if cell.options.reads("epochs") or load_pruner(cell.options).needs_data]
    for name, options in {options.dataset: options for options in readers}.items():
        began = time.thread_time()
        try:
            with at_most(min(READING, stopwatch.left / 2)):
                there = options if folder_of(name) else replace(options, no_download=True)
                datasets.open(there, torch.device("cpu")).load()
            found.reading += time.thread_time() - began
        except (OutOfTime, Refused) as error:
            reason = str(error) if isinstance(error, OutOfTime) else "it is not there yet"
            found.notes.append(f"reading {name} is not counted: {reason}")


class _Measures:
    """The costs of networks and methods, each measured once.

    Args:
        cells: the cells that will be asked for.
        jobs: the number of processes that share the CPU cores.
    """

    def __init__(self, cells: Sequence[Cell], datasets: Datasets, jobs: int) -> None:
        self.stopwatch, self._jobs, self._several = Stopwatch(), jobs, len(cells) > 1
        self._networks: dict[tuple[object, ...], Costs | Exception] = {}
        self._rounds: dict[tuple[object, ...], float | Exception] = {}
        self._stackable = Stackable(datasets)
        keys = [self._keys(cell.options, Precision.of(cell.options, choose_device(cell.options))) for cell in cells]
        self.stopwatch.weights = (TRAINING + 1) * len({network for network, _ in keys}) + len({method for _, method in keys})
        stacked = sum(self._stacks(cell.options) for cell in cells)
        self._at_once = -(-stacked // jobs)

    def _stacks(self, options: Options) -> bool:
        return self._several and size_of_stack(options) > 1 and self._stackable(options)

    def _keys(self, options: Options, precision: Precision) -> tuple[tuple[object, ...], tuple[object, ...]]:
        """Return what the costs of a network depend on, and those of its scoring."""
        network = (str(precision), self._stacks(options), *(str(getattr(options, name)) for name in of_step_time()))
        return network, (*network, options.pruner, options.prune_epochs, options.prune_dataset_ratio, options.prune_train_mode)

    def costs(self, options: Options, pruner: Pruner, data: Dataset, measured: list[str]) -> tuple[Precision, Costs]:
        """Return the precision of a run, and its costs, measured if they are not known; a line goes to `measured`."""
        begun = None if options.overwrite else precision_begun(path_of(options))
        precision = Precision.of(options, choose_device(options), begun)
        network, method = self._keys(options, precision)
        if method not in self._rounds and not isinstance(self._networks.get(network), Exception):
            try:
                self._measure(options, pruner, data, precision, measured)
            except Exception as error:
                if network in self._networks:
                    self._rounds[method] = error
                else:
                    self._networks[network] = error
        for known in (self._networks[network], self._rounds.get(method)):
            if isinstance(known, Exception):
                raise known
        return precision, replace(self._networks[network], round=self._rounds[method])

    def _measure(self, options: Options, pruner: Pruner, data: Dataset, precision: Precision, measured: list[str]) -> None:
        network, method = self._keys(options, precision)
        self.stopwatch.check()
        began = time.thread_time()
        with masked_network(options, precision, data, self._jobs) as masked:
            if network not in self._networks:
                at_once = min(self._at_once, size_of_stack(options)) if self._stacks(options) else 1
                costs = step_costs(masked, self.stopwatch, time.thread_time() - began, max(at_once, 1))
                self._networks[network] = costs
                measured.append(_line(options, precision, costs, at_once))
            self._rounds[method] = round_cost(masked, pruner, self.stopwatch)


def _cell_seconds(options: Options, data: Dataset, pruner: Pruner, costs: Costs, done: bool) -> Counter[str]:
    """Estimate the parts of a cell that are left; `done` tells whether its dense training is done, or counts for another cell."""
    seconds: Counter[str] = Counter()
    finished = 0 if options.overwrite else progress_of(path_of(options)).epochs
    trained, tested = batches_of_epoch(data, options)
    rounds = epochs = 0
    for part in parts_of(options, data, pruner):
        if ROUND in part.units:
            rounds += part.units[ROUND]
            continue
        planned = part.units[TRAINED] // trained
        left = max(planned - finished, 0)
        if left < planned:  # what comes before is done
            rounds = 0
        finished = max(finished - planned, 0)
        if part.name == "dense" and options.pre_epochs:
            seconds[DENSE] += 0.0 if done else left * trained * costs.step + (left + 1) * tested * costs.test
        else:
            seconds[EPOCHS] += left * trained * costs.step
            seconds[EVALUATIONS] += (left + 1) * tested * costs.test
            epochs += left
    seconds[SCORING] += rounds * costs.round
    if options.reads("epochs"):
        testing = tested * costs.test
        passes = min(PASSES, 1 + int(ENOUGH / (2 * testing)))
        seconds[INFERENCE] += 2 * passes * testing + 2 * (WARM_UP + REPEATS) * costs.test
    seconds[WRITING] += 2 * costs.build + costs.state * _states(options, seconds[EPOCHS] + seconds[DENSE], epochs)
    return seconds


def _states(options: Options, training: float, epochs: int) -> float:
    """Count how often a run writes the weights: at its start and end, with the optimizer's two states, and in checkpoints."""
    if options.no_save:
        return 0
    if options.checkpoint_every is not None:
        checkpoints = epochs // options.checkpoint_every if options.checkpoint_every else 0
    else:
        checkpoints = epochs if epochs and training / epochs >= SLOW else int(training / LONG)
    return 4 + bool(options.pre_epochs) + 3 * checkpoints


def _line(options: Options, precision: Precision, costs: Costs, at_once: int) -> str:
    mixed = ", mixed precision" if precision.dtype != torch.float32 else ", tf32" if precision.tf32 else ""
    step, test = (f"{1000 * seconds:.1f} ms" for seconds in (costs.step, costs.test))
    network = f"{options.model_class} {options.model} on {options.dataset}{mixed}"
    stacked = f" of one of {at_once} cells at once" if at_once > 1 else ""
    images = f"{step} for a step of {options.train_batch_size} images{stacked}"
    return f"{network}: {images}, {test} for testing {options.test_batch_size}"
