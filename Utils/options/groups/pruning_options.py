"""The options of pruning: scores, budgets, levels, ablations and masks that move."""

from __future__ import annotations

from dataclasses import dataclass

import Pruners
from Pruners._shared.distributions import DISTRIBUTIONS
from Pruners._shared.schedules import DEFAULT, SCHEDULES
from Utils.options.flags import COMPRESSION, COUNT, DENSITY, POSITIVE, SPARSITY, number
from Utils.options.option import option
from Utils.options.parts import Affects


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class PruningOptions:
    """The options of pruning."""

    pruner: str = option(
        "prune", "pruning method (see --list pruners)", "rand", Pruners.spelt, choices=Pruners.names, common=True
    )
    compression: float = option(
        "prune", "log10 of total over kept prunable weights: density is 10^-C", None, COMPRESSION, common=True
    )
    density: float = option("prune", "the same as kept over total", None, DENSITY)
    sparsity: float = option("prune", "the same as 1 - density", None, SPARSITY)
    prune_epochs: int | None = option(
        "prune", "rounds of scoring; default: the method's (100 for synflow, else 1)", None, POSITIVE
    )
    compression_schedule: str = option("prune", "densities of the rounds", DEFAULT, choices=tuple(SCHEDULES))
    mask_scope: str = option(
        "prune",
        "rank all weights together, or each layer's; methods with budgets and --mask-distribution always rank each layer's",
        "global",
        choices=("global", "local"),
    )
    mask_distribution: str | None = option(
        "prune",
        "budgets of the layers, in which the method's scores choose; default: by method",
        None,
        choices=tuple(DISTRIBUTIONS),
    )
    prune_dataset_ratio: int = option("prune", "scoring images per class", 10, POSITIVE)
    prune_batch_size: int = option("prune", "images per scoring step", 256, POSITIVE)
    prune_bias: bool = option("prunable", "prune biases too", False, None)
    prune_batchnorm: bool = option("prunable", "prune BatchNorm too", False, None)
    prune_residual: bool = option("prunable", "prune identity shortcuts too", False, None)
    prune_train_mode: bool = option("prune", "score in train mode", False, None)
    thop: bool = option(
        "counting",
        "count multiply-adds by thop too, and name the layers where it differs",
        False,
        None,
        affects=Affects.NAME,
        late=True,
    )
    reinitialize: bool = option("ablations", "draw new weights after pruning", False, None)
    shuffle: bool = option("ablations", "permute each mask within its layer after pruning", False, None)
    invert: bool = option("prune", "remove the largest scores instead of the smallest", False, None)
    prune_amount: float | None = option(
        "levels",
        "share of the surviving weights that each level removes, instead of a compression",
        None,
        number(above=0, below=1),
    )
    rewind_epoch: int = option(
        "levels", "go back to the network after this epoch of the first level's training", 0, COUNT, paces=True
    )
    no_rewind: bool = option(
        "levels", "keep the weights: --post-epochs of fine-tuning after each level's pruning", False, None, paces=True
    )
    update_interval: int = option("updates", "training steps from one update of the masks to the next", 100, POSITIVE)
    update_end_fraction: float = option(
        "updates", "share of the training after which the masks stay", 0.75, number(above=0, high=1)
    )
    drop_fraction: float = option(
        "updates", "share of the active weights that the first update replaces", 0.3, number(above=0, high=1)
    )
