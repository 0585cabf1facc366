"""An estimate of the time that the unfinished cells of a grid will take, measured on random images without writing.

For each network, shape and precision, a few training steps and one evaluation batch are timed; for each method, one scoring pass.
These times are multiplied by steps, epochs and rounds. Dense training counts once for all cells that share it.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from Models.masking import hold_masks
from Pruners._shared.base import Pruner
from Pruners._shared.problem import Problem
from Utils.base.text import one_line
from Utils.compute.device import choose_device, device_of
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset
from Utils.data.open_set import Datasets
from Utils.grid.grid_folder import State
from Utils.grid.workers import cores
from Utils.measure.inference_time import ENOUGH, PASSES, REPEATS, WARM_UP
from Utils.options.table import of_step_time
from Utils.options.types import Cell, Grid, Options
from Utils.runs.dense_cache import dense_path
from Utils.runs.made_on import precision_begun
from Utils.runs.places import path_of
from Utils.runs.progress import progress_of
from Utils.training.layout import in_layout
from Utils.training.loops import test_sums, train_epoch
from Utils.training.masked_network import MaskedNetwork
from Utils.training.optimizers import make_optimizer
from Utils.training.set_up import load_pruner, prepare

STEPS, LONG = 3, 1.0  # the number of timed calls, and the seconds after which no further call begins
SCORED = 64  # images of the timed scoring pass
ESTIMATE_NOTE = (
    "measured here and now on random images: steps times epochs, rounds of scoring, evaluation and inference times; dense "
    "training once for all cells that share it; reading and augmenting images and starting processes come on top"
)


@dataclass(frozen=True)
class Costs:
    """Seconds of one training step, of testing one batch, and of all rounds of scoring."""

    step: float
    test: float
    prune: float = 0.0


@dataclass
class Estimate:
    """An estimate of seconds of computing.

    Attributes:
        total: the sum over all cells.
        longest: the longest cell with its dense training.
        measured: a line for each measured network.
        unknown: the cells that could not be measured, with the reason.
    """

    total: float = 0.0
    longest: float = 0.0
    measured: list[str] = field(default_factory=list)
    unknown: dict[str, str] = field(default_factory=dict)


def print_estimate(plan: Grid, states: Mapping[str, State], datasets: Datasets) -> None:
    """Print roughly how long `plan` still takes, and what the number includes; `states` are those of its cells."""
    if plan.launcher != "local":
        print("Time left: not estimated, for the cells run on other machines; --launcher local measures on this one")
        return
    left = [cell for cell in plan.cells if states[cell.name].status != "done"]
    found = estimate(left, datasets, plan.jobs)
    for line in found.measured:
        print(f"  {line}")
    for name, reason in found.unknown.items():
        print(f"  {name}: could not be measured ({reason})")
    if found.measured:
        at_once = _at_once(plan)
        seconds = max(found.total / at_once, found.longest)
        computing = tqdm.format_interval(found.total)
        print(f"Time left: about {tqdm.format_interval(seconds)} ({computing} of computing, {at_once} at a time)")
        print(f"  {ESTIMATE_NOTE}")


def _at_once(plan: Grid) -> int:
    """Return the number of cells that have their own device: `--jobs`, on CUDA at most the number of devices."""
    return min(plan.jobs, torch.cuda.device_count()) if device_of(plan).type == "cuda" else plan.jobs


def estimate(cells: list[Cell], datasets: Datasets, jobs: int = 1) -> Estimate:
    """Estimate the cost of the `cells` if `jobs` processes share the CPU cores. Finished epochs do not count."""
    found, costs, scores = Estimate(), {}, {}
    reasons: dict[tuple[object, ...], str] = {}  # by network if it cannot be trained, by method if it cannot be scored
    dense: set[str] = set()
    for cell in cells:
        options = cell.options
        pruner, device = load_pruner(options), choose_device(options)
        precision = Precision.of(options, device, None if options.overwrite else precision_begun(path_of(options)))
        data = datasets.open(options, torch.device("cpu"))
        network = (str(precision), *(str(getattr(options, name)) for name in of_step_time()))
        method = (*network, options.pruner, options.prune_epochs, options.prune_dataset_ratio, options.prune_train_mode)
        if method not in scores and not reasons.keys() & {network, method}:
            try:
                with _masked_network(options, precision, data, jobs) as masked:
                    if network not in costs:
                        costs[network] = _train_and_test(masked)
                        found.measured.append(_line(options, precision, costs[network]))
                    scores[method] = _score(masked, pruner) * (options.prune_epochs or pruner.rounds)
            except Exception as error:  # a faulty network or method must not end a dry run
                reasons[method if network in costs else network] = f"{type(error).__name__}: {one_line(str(error))}"
        if reason := reasons.get(network) or reasons.get(method):
            found.unknown[cell.name] = reason
            continue
        seconds = _cell_seconds(options, data, Costs(*costs[network], scores[method]))
        shared = _dense_seconds(options, data, Costs(*costs[network]), precision, dense)
        found.total += seconds + shared
        found.longest = max(found.longest, seconds + shared)
    return found


def _cell_seconds(options: Options, data: Dataset, costs: Costs) -> float:
    """Estimate a cell without its dense training: the remaining rounds, epochs and evaluations, and inference times."""
    progress = progress_of(path_of(options))
    testing = costs.test * _batches(data.test_size, options.test_batch_size)
    epochs = max(options.post_epochs - progress.post, 0)
    inference = min(2 * PASSES * testing, ENOUGH + 2 * testing) + 2 * (WARM_UP + REPEATS) * costs.test
    return costs.prune + epochs * _epoch(options, data, costs) + 2 * testing + inference  # 2: before and after pruning


def _dense_seconds(options: Options, data: Dataset, costs: Costs, precision: Precision, dense: set[str]) -> float:
    """Estimate the remaining dense training of a cell; 0 if it is done, or was counted with an earlier cell (`dense`)."""
    path = dense_path(options, precision)
    if path is None or path.exists() or str(path) in dense:
        return 0.0
    dense.add(str(path))
    return max(options.pre_epochs - progress_of(path_of(options)).pre, 0) * _epoch(options, data, costs)


def _epoch(options: Options, data: Dataset, costs: Costs) -> float:
    """Estimate one epoch of training and its evaluation."""
    steps = _batches(data.train_size, options.train_batch_size)
    return steps * costs.step + _batches(data.test_size, options.test_batch_size) * costs.test


def _batches(images: int, size: int) -> float:
    """Count batches of `size`, the last one in proportion."""
    return images / size


@contextlib.contextmanager
def _masked_network(options: Options, precision: Precision, data: Dataset, jobs: int) -> Iterator[MaskedNetwork]:
    """Give a cell's network, on the CPU cores of one of `jobs` workers; random generator and threads are restored."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            masked = prepare(options, precision.device, data, precision)  # sets the threads that the network is given
            torch.set_num_threads(min(torch.get_num_threads(), max(1, cores() // jobs)))
            yield masked
        finally:
            torch.set_num_threads(threads)


def _images(masked: MaskedNetwork, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw random images [count, C, H, W] and labels [count] of the data's shape and classes, on the device."""
    images = torch.randn(count, *masked.data.input_shape).to(masked.device)
    return images, torch.randint(masked.data.num_classes, (count,)).to(masked.device)


def _train_and_test(masked: MaskedNetwork) -> tuple[float, float]:
    """Measure the seconds of a training step and of testing a batch."""
    options, model, precision = masked.options, masked.model, masked.precision.anew()
    optimizer = make_optimizer(model, options.optimizer, options.lr, options.weight_decay)
    hold_masks(optimizer, masked.prunables)
    data = masked.data
    batch = _images(masked, min(options.train_batch_size, data.train_size))
    tested = _images(masked, min(options.test_batch_size, data.test_size))
    with in_layout(model, optimizer, precision.layout):
        step = _seconds(lambda: train_epoch(model, optimizer, [batch], precision=precision), masked.device)
        test = _seconds(lambda: test_sums(model, [tested], precision), masked.device)
    # A batch may be larger than the dataset: `_batches` then counts a share of one.
    return step * options.train_batch_size / len(batch[0]), test * options.test_batch_size / len(tested[0])


def _score(masked: MaskedNetwork, pruner: Pruner) -> float:
    """Estimate the seconds of one scoring pass over all images that the method reads."""
    options, data = masked.options, masked.data
    asked = min(options.prune_dataset_ratio * data.num_classes, data.train_size) if pruner.needs_data else 0
    batches = [_images(masked, min(asked, options.prune_batch_size, SCORED))] if asked else []
    problem = Problem(masked.model, masked.prunables, data.input_shape, read_batches=(lambda: batches) if batches else None,
                      seed=options.seed, train_mode=options.prune_train_mode)  # fmt: skip

    def score() -> None:
        with problem.scoring(0):
            pruner.score(problem)

    return _seconds(score, masked.device) * (asked / len(batches[0][0]) if asked else 1)


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    """Return the median time of a few calls, or of one call if it is long, after a warm-up call.

    The first call takes up to twice as long as later ones.
    """
    laps: list[float] = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        laps.append(time.perf_counter() - began)
        if len(laps) > 1 and sum(laps) > LONG:
            break
    return statistics.median(laps[1:])


def _line(options: Options, precision: Precision, costs: tuple[float, float]) -> str:
    mixed = ", mixed precision" if precision.dtype != torch.float32 else ", tf32" if precision.tf32 else ""
    step, test = (f"{1000 * seconds:.1f} ms" for seconds in costs)
    network = f"{options.model_class} {options.model} on {options.dataset}{mixed}"
    return f"{network}: {step} for a step of {options.train_batch_size} images, {test} for testing {options.test_batch_size}"
