"""The network with masks that every experiment works on, and its construction from the options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd
import torch
from torch import nn

import Pruners
from Models import registry
from Models.masking import Prunable, add_masks, apply_masks, keep_recorded, load_state
from Pruners._shared.base import Pruner
from Pruners._shared.loop import Unscorable, prune_loop, shuffle_masks
from Pruners._shared.problem import Batch, Problem
from Pruners._shared.schedules import DEFAULT
from Pruners._shared.zero_scores import ZeroScores
from Utils.base.errors import not_deterministic, out_of_memory
from Utils.base.seeds import derive
from Utils.compute.precision import Precision
from Utils.data.dataset import Dataset
from Utils.measure.counting import compression_table, with_kept_by_position
from Utils.measure.thop_count import ThopCount, thop_count, with_thop
from Utils.options.types import Options


@dataclass(frozen=True)
class Pruned:
    """The outcome of a pruning.

    Attributes:
        scores: the last scores, a tensor for each prunable parameter, in the order of the network.
        zeros: the weights that were kept by position alone.
    """

    scores: list[torch.Tensor]
    zeros: ZeroScores = field(default_factory=ZeroScores)


@dataclass
class MaskedNetwork:
    """A network with a mask on each of its prunable parameters, and the data it is trained on.

    Attributes:
        model: the network, on `device`.
        prunables: its prunable parameters with their masks, in the order of the network.
        data: the dataset.
        device: the device of the network and of the data.
        options: the options that the network was made with.
        precision: the precision of training and evaluation, chosen once for a run.
        subset: the indices of the training images that pruning methods score with; None if the run scores nothing.
        survivors: the masks at the start, if the network was pruned before; None for a dense one.
        notes: lines that the reader of a run has to know.
    """

    model: nn.Module
    prunables: list[Prunable]
    data: Dataset
    device: torch.device
    options: Options
    precision: Precision
    subset: torch.Tensor | None = None
    survivors: list[torch.Tensor] | None = None
    notes: Sequence[str] = ()

    @property
    def density_at_start(self) -> float:
        """The density at the start: 1, unless the network was pruned before."""
        return 1.0 if self.survivors is None else sum(int(torch.count_nonzero(m)) for m in self.survivors) / self.size

    @property
    def size(self) -> int:
        """The number of prunable weights."""
        return sum(p.mask.numel() for p in self.prunables)

    @property
    def kept(self) -> int:
        """The number of prunable weights that are not masked."""
        return sum(int(torch.count_nonzero(p.mask)) for p in self.prunables)

    @cached_property
    def thop(self) -> ThopCount | str:
        """thop's count of the dense network, made once, or the reason why there is none."""
        return thop_count(self.model, self.data.input_shape)

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Load the weights and statistics of `state`, and its masks if it has any; then apply the masks to the weights.

        A parameter without a mask in a state that has masks is not prunable from then on (see `keep_recorded`).
        """
        keep_recorded(self.prunables, state)
        load_state(self.model, state)
        apply_masks(self.prunables)

    def cloned_state(self) -> dict[str, torch.Tensor]:
        """Clone the network's `state_dict`, on the device."""
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def compression_table(self, pruned: Pruned) -> pd.DataFrame:
        """Count the remaining part of each parameter tensor (see `Utils.measure.counting`); with `--thop`, by thop too.

        If weights were kept by position alone, their number and the likely cause are further columns.
        """
        table = compression_table(self.model, self.prunables, pruned.scores, self.data.input_shape)
        if pruned.zeros.layers:
            table = with_kept_by_position(table, pruned.zeros.layers, pruned.zeros.cause)
        return with_thop(table, self.thop) if self.options.thop else table

    def prune(
        self, pruner: Pruner, density: float | None = None, from_density: float | None = None, *, ablate: bool = True
    ) -> Pruned:
        """Prune to `density`, reinitialize and shuffle if asked (`ablate`), and apply the masks.

        `density` is `--density` if none is given; the schedule of the rounds begins at `from_density`, or at the density
        of the network at its start.

        Raises:
            Unscorable: the method cannot score this network.
        """
        options, zeros = self.options, ZeroScores()
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
                problem, pruner, options.density if density is None else density,
                start=self.density_at_start if from_density is None else from_density,
                rounds=options.prune_epochs or pruner.rounds, schedule=None if asked == DEFAULT else asked,
                scope=options.mask_scope, distribution=options.mask_distribution, invert=options.invert, verbose=options.verbose,
                zeros=zeros,
            )  # fmt: skip
        except (Unscorable, RuntimeError) as error:
            if out_of_memory(error) or not_deterministic(error):
                raise
            line = f"--model {options.model} cannot be scored with --pruner {options.pruner}: {error}"
            raise Unscorable(line) from error
        apply_masks(self.prunables)
        if ablate:
            self.ablate()
        return Pruned(scores, zeros)

    def ablate(self) -> None:
        """Draw new weights (`--reinitialize`) and permute the masks (`--shuffle`) if the options ask for it."""
        if self.options.reinitialize:
            self._reinitialize()
        if self.options.shuffle:
            shuffle_masks(self.prunables, self.options.seed, self.survivors)
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
    """Build the network that the options name, for the shape of `data`, on the CPU, drawn from the global generator."""
    return registry.build(
        options.model, options.model_class, data.input_shape, data.num_classes, dense_classifier=options.dense_classifier,
        pretrained=pretrained, download=not options.no_download,
    )  # fmt: skip


def build_dense(options: Options, data: Dataset, device: torch.device) -> nn.Module:
    """Build another network of that architecture, without masks, for measurements; the global generator does not change."""
    with torch.random.fork_rng(devices=[]):
        return build_model(options, data).to(device)


def mask(model: nn.Module, options: Options, input_shape: tuple[int, ...]) -> list[Prunable]:
    """Register a mask for everything that the options make prunable (`Models.masking.add_masks`).

    One image of `input_shape` is traced where the order of the layers matters.
    """
    known = options.pruner in Pruners.names()  # the method of a saved run may be gone
    budgets = options.mask_distribution or (known and Pruners.load(options.pruner).distribution)
    traced = options.dense_classifier or budgets
    return add_masks(
        model,
        bias=options.prune_bias,
        batchnorm=options.prune_batchnorm,
        residual=options.prune_residual,
        dense_classifier=options.dense_classifier,
        input_shape=input_shape if traced else None,
    )
