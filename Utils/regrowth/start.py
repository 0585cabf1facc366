"""The start of a regrowth: the sparse network, the images that it may use, and the values of the pruned weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from Models.checkpoint_reader import Checkpoint, read_checkpoint
from Models.masking import Prunable, apply_masks, keep_recorded
from Models.weights import copy_tensors
from Pruners._shared.masks import kept_count
from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.base.text import pick_from
from Utils.compute.clock import Clock
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset
from Utils.data.open_set import Datasets
from Utils.options.types import Options
from Utils.regrowth.allocation import capacities, fraction_count
from Utils.regrowth.selection import Sources
from Utils.regrowth.sources import read_sources
from Utils.runs.saved_options import saved_options
from Utils.training.masked_network import MaskedNetwork, build_model, mask
from Utils.training.set_up import check_output, use_threads

Batches = Iterator[tuple[Tensor, Tensor]]
PARTS = 8  # scoring batches that are read at once
ALL = "all"  # --regrow-layers: every layer


class Validated:
    """A dataset as training sees it here: the held-out images replace the test set, which stays unused."""

    def __init__(self, data: Dataset, held_out: Dataset | None = None, *, watched: bool = False) -> None:
        """Take the training images of `data`, and the held-out ones of `held_out`, by default the same dataset.

        Only if they are `watched`, for `--patience`, those of `data` are evaluated too.
        """
        self._data, self._held_out = data, held_out or data
        self.val_size = data.val_size if watched else 0
        self.train_size, self.test_size = data.train_size, self._held_out.val_size
        self.input_shape, self.num_classes = data.input_shape, data.num_classes
        self.decoded = data.decoded

    def train_batches(self, *which: Any) -> Batches:
        """Return the batches of the images left to train on (`Dataset.train_batches`)."""
        return self._data.train_batches(*which)

    def test_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Batches:
        """Return the batches of the held-out images, in order, never augmented."""
        return self._held_out.val_batches(batch_size, share)

    def val_batches(self, batch_size: int, share: tuple[int, int] = (0, 1)) -> Batches:
        """Return the batches of the images that `--patience` watches."""
        return self._data.val_batches(batch_size, share)


class Again:
    """Batches that can be iterated repeatedly without being stored: each iteration calls `make()`."""

    def __init__(self, make: Callable[[], Batches]) -> None:
        self._make = make

    def __iter__(self) -> Batches:
        return self._make()


@dataclass(kw_only=True)
class PrunedNetwork(MaskedNetwork):
    """A sparse network to be regrown, and the values of its pruned weights.

    Attributes:
        options: those of the regrowth.
        datasets: the datasets that the process has opened.
        layers: name -> the prunable weights that may be regrown, in the order of the network.
        state: the network's `state_dict` as it was opened, on the device.
        sources: the stored values of the pruned weights, of this network or of others.
        dense: the trained dense network; None if there is none.
        saved: options of the run that it comes from; None for a foreign file.
        notes: lines that a reader of the results must know.
    """

    datasets: Datasets
    layers: dict[str, Prunable]
    state: dict[str, Tensor]
    sources: Sources
    dense: nn.Module | None
    saved: Options | None
    notes: list[str]

    def validation(self, count: int | None = None) -> Again:
        """Return the first `count` batches of the held-out images; by default all."""
        return Again(lambda: islice(self.data.val_batches(self.options.test_batch_size), count))

    def scoring(self, count: int) -> Again:
        """Return `count` batches of training images in an order fixed by the seed, not augmented, read when needed."""
        size = self.options.train_batch_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.split_seed)
            order = self.data.scoring_subset(min(count * size, self.data.train_size))
        parts = order.split(size * PARTS)
        return Again(lambda: chain.from_iterable(self.data.subset_batches(part, size) for part in parts))


def open_start(
    options: Options,
    datasets: Datasets,
    precision_on: Callable[[torch.device], Precision] = Precision,
    say: Callable[[str], object] = print,
) -> PrunedNetwork:
    """Read the network, its data and its sources, without writing a file.

    `precision_on(device)` chooses the precision, by default float32; `say` gets each line about the network.

    Raises:
        Refused: a file does not fit the network, a layer is unknown, or no weight is pruned.
    """
    device = choose_device(options)
    say(f"Loading {options.dataset} dataset.")
    data = datasets.open(replace(options, seed=options.split_seed), device)
    data.load()
    say(f"Opening {options.regrow_start} as {options.model_class}-{options.model}.")
    found = read_checkpoint(options.regrow_start)
    model, prunables, found = _network(options, data, found, device)
    sources, dense = read_sources(options, data, found, model, prunables, device)
    layers = chosen_layers(prunables, options.regrow_layers)
    opened = PrunedNetwork(
        model, prunables, data, device, options, precision_on(device), datasets=datasets, layers=layers,
        state={name: tensor.clone() for name, tensor in model.state_dict().items()},
        sources=sources, dense=dense, saved=_saved_options(options), notes=[*found.notes, *sources.notes],
    )  # fmt: skip
    if not any(capacities(layers).values()):
        raise Refused(f"{options.regrow_start}: no weight of these layers is pruned")
    if opened.saved is not None and (before := opened.saved.val_fraction) != options.val_fraction:
        opened.notes.append(
            f"the start network was trained with --val-fraction {before:g}, not {options.val_fraction:g}: it has seen validation "
            "images, so that accuracies on these are too high"
        )
    for note in opened.notes:
        say(f"NOTE: {note}")
    return opened


def set_up_start(
    options: Options, datasets: Datasets, precision_on: Callable[[torch.device], Precision]
) -> tuple[PrunedNetwork, Clock]:
    """Return `open_start`, and the run's clock, which counts that as reading the data."""
    device = choose_device(options)
    clock = Clock(device)
    precision_on(device).announce()
    with clock("data"):
        return open_start(options, datasets, precision_on), clock


def budget(opened: PrunedNetwork) -> int:
    """Return the number of weights to regrow: up to `--regrow-to`, or `--regrow-fraction` of all.

    For `--regrow-to` it counts as pruning to that sparsity would.

    Raises:
        Refused: the number is 0, or larger than the number of pruned weights in these layers.
    """
    options, room = opened.options, sum(capacities(opened.layers).values())
    if options.regrow_to is not None:
        count, word = kept_count(opened.size, 1.0 - options.regrow_to) - opened.kept, f"--regrow-to {options.regrow_to:g}"
    else:
        count, word = fraction_count(opened.size, options.regrow_fraction), f"--regrow-fraction {options.regrow_fraction:g}"
    sparsity = f"sparsity {1 - opened.kept / opened.size:.6g}"
    facts = f"{opened.kept} of {opened.size} are kept ({sparsity}), {room} can be regrown in these layers"
    if count < 1:
        raise Refused(f"{word} regrows no weight: {facts}")
    if count > room:
        raise Refused(f"{word} asks for {count} weights: {facts}")
    return count


def chosen_layers(prunables: Sequence[Prunable], names: Sequence[str]) -> dict[str, Prunable]:
    """Return module name -> prunable weight of a convolution or linear layer, for those in `names` or for all.

    Raises:
        Refused: there is no such layer.
    """
    there = {p.module_name: p for p in prunables if p.param == "weight" and isinstance(p.module, nn.Conv2d | nn.Linear)}
    if list(names) == [ALL]:
        return there
    if unknown := next((n for n in names if n not in there), None):
        raise Refused(f"--regrow-layers {unknown}: no such layer; {pick_from(unknown, [ALL, *there])}")
    return {name: p for name, p in there.items() if name in names}


def _network(
    options: Options, data: Dataset, found: Checkpoint, device: torch.device
) -> tuple[nn.Module, list[Prunable], Checkpoint]:
    """Build the masked network, and return it with its prunable weights, and with `found` under its names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = build_model(options, data)
    check_output(model, options, data)
    prunables = mask(model, options, data.input_shape)
    found = found.named_as(model, str(found.file)).with_masks_of_zeros([p.name for p in prunables])
    if options.run:
        keep_recorded(prunables, {f"{name}_mask": tensor for name, tensor in found.masks.items()})
    if not found.masks:
        raise Refused(f"{found.file} holds {found.form}: nothing in it is pruned")
    copy_tensors(model, found.tensors, str(found.file))
    with torch.no_grad():
        for p in prunables:
            if p.name in found.masks:
                p.mask.copy_(found.masks[p.name])
    strays = [name for name, m in found.masks.items() if name not in {p.name for p in prunables} and not bool(m.all())]
    if strays:
        raise Refused(f"{found.file} prunes {', '.join(strays[:3])}, which this network does not")
    apply_masks(prunables)
    use_threads(model, options, data.input_shape)
    return model.to(device), prunables, found


def _saved_options(options: Options) -> Options | None:
    """Return the options of the run that `--run` names; None for a foreign file."""
    if not options.run:
        return None
    folder = Path(options.run[0])
    check_file(folder / "args.json")
    return saved_options(folder)
