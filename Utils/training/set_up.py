"""The beginning of every training or pruning experiment: the masked network, its data and its pruner."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

import Pruners
from Models.weights import load_weights
from Pruners._shared.base import Pruner
from Pruners._shared.distributions import Layer
from Pruners._shared.masks import kept_count
from Pruners._shared.scopes import choose_scope, layers_of
from Utils.base.errors import Refused
from Utils.base.text import print_lines
from Utils.compute.clock import Clock
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset
from Utils.data.open_set import Datasets
from Utils.measure.counting import multiply_adds
from Utils.options.types import Options
from Utils.training.masked_network import MaskedNetwork, build_model, mask

THREADS = torch.get_num_threads()  # the number of the machine or of OMP_NUM_THREADS
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SMALL_STEP = 1 << 26  # multiply-adds of a training step's forward pass; below this number one thread is quicker


def use_threads(model: nn.Module, options: Options, input_shape: tuple[int, ...]) -> None:
    """Give small networks one CPU thread: passing work to a second one would take longer than the work.

    With `--deterministic` every network has one thread. Sums in several parts differ in the last digits, so that numbers would
    depend on `--jobs`.
    """
    step = multiply_adds(model, input_shape) * options.train_batch_size
    torch.set_num_threads(1 if step < SMALL_STEP or options.deterministic else THREADS)


def prepare(options: Options, device: torch.device, data: Dataset) -> MaskedNetwork:
    """Draw the scoring subset and the network, in Synaptic-Flow's order, so that a seed gives its subset and its weights.

    Raises:
        Refused: the network does not accept the data's shape, or the budget keeps no weight at all.
    """
    torch.manual_seed(options.seed)
    subset = data.scoring_subset(data.num_classes * options.prune_dataset_ratio)
    model = build_model(options, data, options.pretrained)
    if options.weights:
        print_lines(f"NOTE: {note}" for note in load_weights(model, options.weights).notes)
    prunables = mask(model, options)
    use_threads(model, options, data.input_shape)
    network = MaskedNetwork(model.to(device), prunables, data, device, options, subset)
    if not prunables:
        raise Refused(f"--model {options.model}: no Conv2d or Linear layer is left to prune")
    check_budget(options, layers_of(prunables))
    return network


def set_up(options: Options, pruner: Pruner, datasets: Datasets, *, read: bool = True) -> tuple[MaskedNetwork, Clock]:
    """Return the network with its data, ready for training or pruning, and the run's clock; `read` reads the data now."""
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
    print_note(pruner, network)
    return network, clock


def check_budget(options: Options, layers: Sequence[Layer]) -> None:
    """Refuse a density that keeps no weight, or fewer than the method or `--mask-distribution` always keeps.

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
    """Make the pruner that the options name.

    Raises:
        Refused: its masks move in training, although the options need fixed masks.
    """
    pruner = Pruners.load(options.pruner)()
    if pruner.growth and (options.compact or options.level):
        asked = "--experiment multishot" if options.level else "--compact"
        raise Refused(f"--pruner {options.pruner} moves its masks in training, {asked} needs masks that stay")
    return pruner


def print_note(pruner: Pruner, network: MaskedNetwork) -> None:
    """Print a note where a method meant for trained weights is given untrained ones, and a warning where a mode spoils scores."""
    options = network.options
    trained = options.pretrained or options.weights or options.pre_epochs
    if pruner.untrained_note and not trained:
        print(f"NOTE: {pruner.untrained_note}")
    if pruner.train_mode_note and options.prune_train_mode and any(isinstance(m, BATCH_NORMS) for m in network.model.modules()):
        print(f"WARNING: {pruner.train_mode_note}")


def print_target(options: Options) -> None:
    """Print the target of pruning as density, sparsity and compression."""
    asked = f"density {options.density:.6g} (sparsity {options.sparsity:.6g}, compression {options.compression:.6g})"
    print(f"Pruning with {options.pruner} for {options.prune_epochs} epochs to {asked}.")
