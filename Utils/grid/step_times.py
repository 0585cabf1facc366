"""Seconds of the steps of one network, measured on random images of the right size without writing."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch

from Models.masking import hold_masks
from Pruners._shared.base import Pruner
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Pruners._shared.schedules import DEFAULT
from Utils.base.progress_bar import shown_progress
from Utils.compute.graphs import Graphs
from Utils.compute.precision import Precision
from Utils.data.batches import TensorSplit
from Utils.data.dataset import Dataset
from Utils.grid.stopwatch import Stopwatch
from Utils.grid.workers import cores
from Utils.options.types import Options
from Utils.training.layout import in_layout
from Utils.training.loops import TrainingPass, test_sums
from Utils.training.masked_network import MaskedNetwork, Pruned
from Utils.training.optimizers import make_optimizer
from Utils.training.passes import Source
from Utils.training.set_up import prepare
from Utils.training.together import together

TRAINING = 3.0  # the weight of the measurement of training steps, beside 1 for testing and 1 for a round of scoring
BATCHES, BYTES = 16, 1 << 26  # of the longest timed epoch
POOL = 1 << 25  # bytes of the images that its batches are picked from, more than the caches of a processor hold
SCORED = 64  # images of the timed scoring pass
AUGMENTED = ("none", "crop-flip")  # what `TensorSplit` does; larger images are read and augmented by other processes


@dataclass(frozen=True)
class Costs:
    """Seconds of one network.

    Attributes:
        step: of a training step.
        test: of testing a batch.
        build: of building the network and counting its parameters and FLOPs.
        state: of writing its weights once.
        round: of a round of scoring.
    """

    step: float
    test: float
    build: float = 0.0
    state: float = 0.0
    round: float = 0.0


@contextlib.contextmanager
def masked_network(options: Options, precision: Precision, data: Dataset, jobs: int) -> Iterator[MaskedNetwork]:
    """Give a cell's network, on the CPU cores of one of `jobs` workers; random generator and threads are restored."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), shown_progress(False):
        try:
            masked = prepare(options, precision.device, data, precision)  # sets the threads that the network is given
            torch.set_num_threads(min(torch.get_num_threads(), max(1, cores() // jobs)))
            yield masked
        finally:
            torch.set_num_threads(threads)


def step_costs(masked: MaskedNetwork, stopwatch: Stopwatch, build: float, at_once: int = 1) -> Costs:
    """Measure a network that took `build` seconds to build, as one of `at_once` cells that are trained at once."""
    scores = [p.weight.detach().abs() for p in masked.prunables]
    counted = stopwatch.lap(lambda _: masked.compression_table(Pruned(scores)), 1, masked.device)
    written = stopwatch.lap(lambda _: _serialised(masked), 1, masked.device)
    return Costs(*train_and_test(masked, stopwatch, at_once), build + counted, written)


def _serialised(masked: MaskedNetwork) -> str:
    buffer = io.BytesIO()
    torch.save(masked.model.state_dict(), buffer)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()


def train_and_test(masked: MaskedNetwork, stopwatch: Stopwatch, at_once: int = 1) -> tuple[float, float]:
    """Measure the seconds of a training step, and of testing a batch, with the preparation of their images."""
    options, data, precision = masked.options, masked.data, masked.precision.anew()
    cells = [(masked.model, masked.prunables)]
    cells += [copy.deepcopy(cells[0]) for _ in range(at_once - 1)]
    optimizers = [make_optimizer(model, options.optimizer, options.lr, options.weight_decay) for model, _ in cells]
    for optimizer, (_, prunables) in zip(optimizers, cells, strict=True):
        hold_masks(optimizer, prunables)
    trained = _longest(masked, options.train_batch_size, data.train_size)
    tested = _longest(masked, options.test_batch_size, data.test_size)
    with contextlib.ExitStack() as layouts:
        for optimizer, (model, _) in zip(optimizers, cells, strict=True):
            layouts.enter_context(in_layout(model, optimizer, precision.layout))
        wanted = precision.scaler is None and bool(optimizers[0].defaults.get("fused")) and not options.no_graph
        graphs = [Graphs(masked.device, model, wanted=wanted) for model, _ in cells]
        images, of_test = _images(masked, trained), cache(lambda count: _images(masked, count, count))

        def train(count: int) -> None:
            source = Source(id(data), "train", options.train_batch_size, ("estimate",))
            among = torch.randperm(len(images.images))[:count]
            passes = [
                TrainingPass(m, o, images.train_batches(options.train_batch_size, 1, "estimate", 1, among=among),
                             source=source, precision=precision, graphs=g)
                for o, (m, _), g in zip(optimizers, cells, graphs, strict=True)
            ]  # fmt: skip
            _do(passes)
            passes[0].mean().item()

        def test(count: int) -> None:
            test_sums(masked.model, of_test(count).plain_batches(options.test_batch_size), precision, graphs[0])[0].tolist()

        step = stopwatch.seconds(train, trained, masked.device, TRAINING) / at_once / -(-trained // options.train_batch_size)
        return step, stopwatch.seconds(test, tested, masked.device) / -(-tested // options.test_batch_size)


def _do(passes: list[TrainingPass]) -> None:
    """Do the passes together as far as they fit, else one by one."""
    for one, answer in zip(passes, together(passes) if len(passes) > 1 else [None], strict=True):
        if answer is None or answer.done is False:
            one.alone()
        elif answer.done is not True:
            raise answer.done


def _longest(masked: MaskedNetwork, batch_size: int, size: int) -> int:
    """Return the images of the longest timed epoch: whole batches, as far as there are images."""
    pixels = 4 * torch.Size(masked.data.input_shape).numel()
    return min(batch_size * max(1, min(BATCHES, BYTES // (batch_size * pixels))), size)


def _images(masked: MaskedNetwork, least: int, most: int | None = None) -> TensorSplit:
    """Draw random images and labels of the data's shape, classes and augmentation, on the device.

    There are as many as in the data, up to `POOL` bytes, at least `least` and not more than `most`.
    """
    data, device = masked.data, masked.device
    count = max(least, min(data.train_size, most or data.train_size, POOL // torch.Size(data.input_shape).numel()))
    pixels = torch.randint(256, (count, *data.input_shape), dtype=torch.uint8).to(device)
    labels = torch.randint(data.num_classes, (count,)).to(device)
    channels = data.input_shape[0]
    augment = data.augment if data.augment in AUGMENTED else "none"
    return TensorSplit(pixels, labels, (0.5,) * channels, (0.25,) * channels, augment)


def round_cost(masked: MaskedNetwork, pruner: Pruner, stopwatch: Stopwatch) -> float:
    """Estimate the seconds of one round of scoring, with its images read, and the masks cut; the masks change."""
    options, data = masked.options, masked.data
    rounds = options.prune_epochs or pruner.rounds
    asked = min(options.prune_dataset_ratio * data.num_classes, data.train_size) if pruner.needs_data else 0
    before = [p.mask.clone() for p in masked.prunables]
    schedule = None if options.compression_schedule == DEFAULT else options.compression_schedule
    images = cache(lambda count: list(_images(masked, count, count).plain_batches(options.prune_batch_size)))

    def score(count: int) -> None:
        problem = Problem(
            masked.model, masked.prunables, data.input_shape, read_batches=(lambda: images(count)) if asked else None,
            seed=options.seed, train_mode=options.prune_train_mode,
        )  # fmt: skip
        try:
            prune_loop(problem, pruner, options.density, start=masked.density_at_start, rounds=1 if asked else count,
                       schedule=schedule, scope=options.mask_scope, distribution=options.mask_distribution,
                       invert=options.invert)  # fmt: skip
        finally:
            for prunable, mask in zip(masked.prunables, before, strict=True):
                prunable.mask.copy_(mask)

    if not asked:
        return stopwatch.seconds(score, rounds, masked.device) / rounds
    scored = min(asked, SCORED)
    return stopwatch.seconds(score, scored, masked.device) * asked / scored
