"""From options to a network with masks and its data: the part that every training or pruning experiment begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn

import Pruners
from Models import registry
from Models.masking import Prunable, add_masks, apply_masks, load_state
from Models.weights import load_weights
from Pruners._shared.base import Pruner
from Pruners._shared.distributions import Layer
from Pruners._shared.loop import NonFiniteScores, prune_loop, shuffle_masks
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Batch, Problem
from Pruners._shared.schedules import DEFAULT
from Pruners._shared.scopes import choose_scope, layers_of
from Utils.base.errors import Refused, not_deterministic, out_of_memory
from Utils.base.seeds import derive
from Utils.compute.clock import Clock
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset
from Utils.data.open_set import Datasets as Datasets
from Utils.data.open_set import open_data as open_data
from Utils.measure.counting import compression_table, multiply_adds
from Utils.measure.thop_count import with_thop
from Utils.options.types import Options

THREADS = torch.get_num_threads()  # what the machine or OMP_NUM_THREADS gives
SMALL_STEP = 1 << 26  # multiply-adds of a training step's forward pass below which one thread is quicker


def use_threads(model: nn.Module, options: Options, input_shape: tuple[int, ...]) -> None:
    """Give small networks one CPU thread: handing work to a second one would take longer than the work.

    With `--deterministic` every network has one: sums in several parts differ in the last digits, and with them `--jobs` would.
    """
    step = multiply_adds(model, input_shape) * options.train_batch_size
    torch.set_num_threads(1 if step < SMALL_STEP or options.deterministic else THREADS)


@dataclass
class MaskedNetwork:
    """A network with a mask on each of its prunable parameters, and the data it is trained on.

    Attributes:
        model: the network, on `device`.
        prunables: its prunable parameters with their masks, in the order of the network.
        data: the dataset.
        device: the device of the network and of the data.
        options: the options that the network was made with.
        subset: the indices of the training images that pruning methods score with; None where nothing is scored.
    """

    model: nn.Module
    prunables: list[Prunable]
    data: Dataset
    device: torch.device
    options: Options
    subset: torch.Tensor | None = None

    @property
    def size(self) -> int:
        """The number of prunable weights."""
        return sum(p.mask.numel() for p in self.prunables)

    @property
    def kept(self) -> int:
        """The number of prunable weights that are not masked."""
        return sum(int(torch.count_nonzero(p.mask)) for p in self.prunables)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over the weights and statistics of `state`, and its masks if it has any; masks are written to the weights."""
        load_state(self.model, state)
        apply_masks(self.prunables)

    def copy(self) -> dict[str, torch.Tensor]:
        """Clone the network's `state_dict`, on the device."""
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def compression_table(self, scores: Sequence[torch.Tensor]) -> pd.DataFrame:
        """Count what is left of each parameter tensor (see `Utils.measure.counting`), with `--thop` by thop too.

        `scores` are those of the prunables.
        """
        table = compression_table(self.model, self.prunables, scores, self.data.input_shape)
        return with_thop(table, self.model, self.data.input_shape) if self.options.thop else table

    def prune(
        self, pruner: Pruner, density: float | None = None, start: float = 1.0, *, ablate: bool = True
    ) -> list[torch.Tensor]:
        """Prune to `density`, then reinitialize, shuffle (`ablate`), write the masks to the weights; returns the last scores.

        `density` is `--density` if none is given; the schedule of the rounds begins at the density `start`.

        Raises:
            NonFiniteScores: the method cannot score this network.
        """
        options = self.options
        problem = Problem(
            self.model,
            self.prunables,
            self.data.input_shape,
            read_batches=self._scoring_batches if pruner.needs_data else None,
            seed=options.seed,
            train_mode=options.prune_train_mode,
        )
        asked = options.compression_schedule
        try:
            scores = prune_loop(
                problem, pruner, options.density if density is None else density, start=start,
                rounds=options.prune_epochs or pruner.rounds, schedule=None if asked == DEFAULT else asked,
                scope=options.mask_scope, distribution=options.mask_distribution, invert=options.invert, verbose=options.verbose,
            )  # fmt: skip
        except (NonFiniteScores, RuntimeError) as error:
            if out_of_memory(error) or not_deterministic(error):
                raise
            line = f"--model {options.model} cannot be scored with --pruner {options.pruner}: {error}"
            raise NonFiniteScores(line) from error
        apply_masks(self.prunables)
        if ablate:
            self.ablate()
        return scores

    def ablate(self) -> None:
        """Draw new weights (`--reinitialize`) and permute the masks (`--shuffle`) where that was asked."""
        if self.options.reinitialize:
            self._reinitialize()
        if self.options.shuffle:
            shuffle_masks(self.prunables, self.options.seed)
        apply_masks(self.prunables)

    def _scoring_batches(self) -> list[Batch]:
        self.data.load()
        return self.data.subset_batches(self.subset, self.options.prune_batch_size)

    def _reinitialize(self) -> None:
        """Draw new weights as for a new network, BatchNorm's statistics included; the masks stay."""
        torch.manual_seed(derive(self.options.seed, "reinitialize"))
        fresh = build_model(self.options, self.data).state_dict()
        own = self.model.state_dict()
        with torch.no_grad():
            for name, tensor in fresh.items():
                own[name].copy_(tensor)


def build_model(options: Options, data: Dataset, pretrained: bool = False) -> nn.Module:
    """The network that the options name, for the shape of `data`, on the CPU, drawn from the global generator."""
    return registry.build(
        options.model, options.model_class, data.input_shape, data.num_classes, dense_classifier=options.dense_classifier,
        pretrained=pretrained, download=not options.no_download,
    )  # fmt: skip


def build_dense(options: Options, data: Dataset, device: torch.device) -> nn.Module:
    """Another network of that architecture, without masks, to be measured; the global generator is as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        return build_model(options, data).to(device)


def mask(model: nn.Module, options: Options) -> list[Prunable]:
    """Register a mask for everything that the options make prunable (`Models.masking.add_masks`)."""
    return add_masks(
        model,
        bias=options.prune_bias,
        batchnorm=options.prune_batchnorm,
        residual=options.prune_residual,
        dense_classifier=options.dense_classifier,
    )


def prepare(options: Options, device: torch.device, data: Dataset) -> MaskedNetwork:
    """Draw the scoring subset and the network, in Synaptic-Flow's order, so that a seed gives its subset and its weights.

    Raises:
        Refused: the network cannot take the data's shape, or the budget keeps no weight at all.
    """
    torch.manual_seed(options.seed)
    subset = data.scoring_subset(data.num_classes * options.prune_dataset_ratio)
    model = build_model(options, data, options.pretrained)
    if options.weights:
        load_weights(model, options.weights)
    prunables = mask(model, options)
    use_threads(model, options, data.input_shape)
    network = MaskedNetwork(model.to(device), prunables, data, device, options, subset)
    if not prunables:
        raise Refused(f"--model {options.model}: no Conv2d or Linear layer is left to prune")
    check_budget(options, layers_of(prunables))
    return network


def set_up(options: Options, pruner: Pruner, datasets: Datasets, *, read: bool = True) -> tuple[MaskedNetwork, Clock]:
    """The network and its data, ready to be trained or pruned, and the clock of the run; `read` reads the data now."""
    device = choose_device(options)
    clock = Clock(device)
    with clock("data"):
        data = datasets.open(options, device)
        if read:
            print(f"Loading {options.dataset} dataset.")
            data.load()
    print(f"Creating {options.model_class}-{options.model} model.")
    Precision.of(options.quantization, device).announce()
    network = prepare(options, device, data)
    print_note(pruner, options)
    return network, clock


def check_budget(options: Options, layers: Sequence[Layer]) -> None:
    """Refuse a density that keeps no prunable weight at all, or fewer than the method or `--mask-distribution` always keeps.

    Raises:
        Refused: one line that names the numbers.
    """
    size = sum(layer.size for layer in layers)
    kept = kept_count(size, options.density)
    if kept < 1:
        raise Refused(f"--compression {options.compression:g} keeps none of the {size} prunable weights")
    if options.reads("prune"):
        pruner = Pruners.load(options.pruner)
        scope = choose_scope(options.mask_scope, options.mask_distribution or pruner.distribution)
        try:
            scope.check(layers, kept, pruner.one_each and not options.invert)
        except Refused as error:
            raise Refused(f"--pruner {options.pruner}, density {options.density:.6g}: {error}") from error


def load_pruner(options: Options) -> Pruner:
    """The pruner that the options name.

    Raises:
        Refused: its masks move in training, and what is asked needs them to stay.
    """
    pruner = Pruners.load(options.pruner)()
    if pruner.growth and (options.compact or options.level):
        asked = "--experiment multishot" if options.level else "--compact"
        raise Refused(f"--pruner {options.pruner} moves its masks in training, {asked} needs masks that stay")
    return pruner


def print_note(pruner: Pruner, options: Options) -> None:
    """Say so where a method meant for trained weights is given untrained ones."""
    trained = options.pretrained or options.weights or options.pre_epochs
    if pruner.untrained_note and not trained:
        print(f"NOTE: {pruner.untrained_note}")


def print_target(options: Options) -> None:
    """What the pruning aims at, in all three words."""
    asked = f"density {options.density:.6g} (sparsity {options.sparsity:.6g}, compression {options.compression:.6g})"
    print(f"Pruning with {options.pruner} for {options.prune_epochs} epochs to {asked}.")
