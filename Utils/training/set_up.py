"""The beginning of every training or pruning experiment: the masked network, its data and its pruner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

import Pruners
from Models.holding import broken_masks
from Models.logits import check_train_mode
from Models.masking import Prunable
from Models.registry import TORCHVISION, USER
from Models.survivors import take_masks
from Models.weights import load_weights
from Pruners._shared.base import Pruner
from Pruners._shared.distributions import Layer
from Pruners._shared.masks import kept_count
from Pruners._shared.scopes import Scope, choose_scope, layers_of
from Utils.base.errors import Refused
from Utils.base.text import print_lines
from Utils.compute.clock import Clock
from Utils.compute.compilation import check_compiler
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset
from Utils.data.open_set import Datasets
from Utils.measure.counting import multiply_adds
from Utils.options.types import Options
from Utils.training.masked_network import MaskedNetwork, build_model, mask

SHOWN = 3  # names in a message
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


def prepare(options: Options, device: torch.device, data: Dataset, precision: Precision | None = None) -> MaskedNetwork:
    """Draw the scoring subset and the network, in Synaptic-Flow's order, so that a seed gives its subset and its weights.

    `precision` is float32 if none is given.

    Raises:
        Refused: the network does not accept the data's shape, or the budget keeps no weight at all.
    """
    torch.manual_seed(options.seed)
    subset = data.scoring_subset(data.num_classes * options.prune_dataset_ratio)
    model = build_model(options, data, options.pretrained)
    check_output(model, options, data)
    found = load_weights(model, options.weights, dense=options.weights_dense) if options.weights else None
    prunables = mask(model, options, data.input_shape)
    if options.model_class in (USER, TORCHVISION):
        _check_masks(model, prunables, options, data.input_shape)
    notes = list(found.notes) if found else []
    if found and not options.weights_dense:
        notes += take_masks(model, prunables, found.masks, f"--weights {options.weights}")
    use_threads(model, options, data.input_shape)
    precision = precision or Precision(device)
    network = MaskedNetwork(model.to(device), prunables, data, device, options, precision, subset, notes=notes)
    if not prunables:
        raise Refused(f"--model {options.model}: no layer is left whose weights can be pruned")
    layers = layers_of(prunables)
    if any(layer.alive < layer.size for layer in layers):
        network.survivors = [p.mask.clone() for p in prunables]
    check_budget(options, layers)
    return network


def _check_masks(model: nn.Module, prunables: Sequence[Prunable], options: Options, input_shape: tuple[int, ...]) -> None:
    """Refuse a network that changes masked weights in its forward pass.

    Raises:
        Refused: one line that names the first layers.
    """
    if broken := [name.removesuffix(".weight") for name in broken_masks(model, prunables, input_shape)]:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        raise Refused(
            f"--model {options.model}: the masks of {', '.join(broken[:SHOWN])}{more} would not hold, because the forward pass "
            "changes the weight (as weight standardisation does): a masked weight is not zero in the product that uses it; "
            "take layers that multiply by their weights as they are"
        )


def check_output(model: nn.Module, options: Options, data: Dataset) -> None:
    """Refuse a user's own network whose output cannot be trained, or scored in train mode, before the work begins.

    Raises:
        Refused: see `check_train_mode`.
    """
    trains = options.reads("train") and (options.pre_epochs or options.post_epochs or options.reads("regrow"))
    if options.model_class == USER and (trains or options.prune_train_mode):
        check_train_mode(model, data.input_shape, data.num_classes, options.model)


def set_up(
    options: Options,
    pruner: Pruner,
    datasets: Datasets,
    precision_on: Callable[[torch.device], Precision],
    *,
    read: bool = True,
) -> tuple[MaskedNetwork, Clock]:
    """Return the network with its data, ready for training or pruning, and the run's clock.

    `precision_on(device)` chooses the run's precision; `read` reads the data now.

    Raises:
        Refused: see `prepare` and `check_compiler`.
    """
    device = choose_device(options)
    if options.compile:
        check_compiler(device)
    clock = Clock(device)
    with clock("data"):
        data = datasets.open(options, device)
        if read:
            print(f"Loading {options.dataset} dataset.")
            data.load()
    print(f"Creating {options.model_class}-{options.model} model.")
    precision = precision_on(device)
    precision.announce()
    network = prepare(options, device, data, precision)
    print_notes(pruner, network)
    return network, clock


def check_budget(options: Options, layers: Sequence[Layer]) -> None:
    """Refuse a density that keeps no weight, fewer than the method or `--mask-distribution` always keeps, or more than are left.

    Density 1, which is that of a command without a budget, keeps all that are left.

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
        if options.density < 1:
            _check_survivors(options, layers, scope)
        try:
            scope.check(layers, min(kept, sum(layer.alive for layer in layers)), pruner.one_each and not options.invert)
        except Refused as error:
            raise Refused(f"--pruner {options.pruner}, density {options.density:.6g}: {error}") from error


def _check_survivors(options: Options, layers: Sequence[Layer], scope: Scope) -> None:
    """Refuse a budget above the weights that are left in a network pruned before.

    Raises:
        Refused: one line with both numbers.
    """
    size, alive = sum(layer.size for layer in layers), sum(layer.alive for layer in layers)
    dense = ", or --weights-dense to prune from all" if options.weights else ""
    if options.prune_amount and alive < size:
        left = _shortest(size, alive, options.density)
        raise Refused(f"--prune-amount {options.prune_amount:g} counts from all {size} weights, of which {alive} are left: give "
                      f"--density {left} for the same share of these{dense}")  # fmt: skip
    for group in scope.groups(len(layers)):
        total, left = sum(layers[i].size for i in group), sum(layers[i].alive for i in group)
        if (kept := kept_count(total, options.density)) > left:
            where, instead = "", f"give --density {_shortest(size, alive)} or less"
            if total < size:
                where, instead = f" of {layers[group[0]].name}", "rank all layers together with --mask-scope global"
            raise Refused(f"density {options.density:.6g} keeps {kept} weights{where}, but only {left} of {total} are left there"
                          f": {instead}{dense}")  # fmt: skip


def _shortest(size: int, count: int, share: float = 1.0) -> str:
    """Write `share` of the density `count` / `size` in as few digits as keep that many of `size` weights."""
    density = share * count / size
    texts = (f"{density:.{digits}g}" for digits in range(1, 18))
    return next((text for text in texts if kept_count(size, float(text)) == kept_count(size, density)), f"{density:.17g}")


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


def print_notes(pruner: Pruner, network: MaskedNetwork) -> None:
    """Print what is pruned already, and where weights or a mode do not suit the method."""
    options = network.options
    print_pruned(network)
    trained = options.pretrained or options.weights or options.pre_epochs
    if pruner.untrained_note and not trained:
        print(f"NOTE: {pruner.untrained_note}")
    if pruner.train_mode_note and options.prune_train_mode and any(isinstance(m, BATCH_NORMS) for m in network.model.modules()):
        print(f"WARNING: {pruner.train_mode_note}")


def print_pruned(network: MaskedNetwork) -> None:
    """Print notes on a network that was pruned before the command."""
    print_lines(f"NOTE: {note}" for note in network.notes)


def print_target(options: Options) -> None:
    """Print the target of pruning as density, sparsity and compression."""
    asked = f"density {options.density:.6g} (sparsity {options.sparsity:.6g}, compression {options.compression:.6g})"
    print(f"Pruning with {options.pruner} for {options.prune_epochs} epochs to {asked}.")
