"""The options of pruning: scores, budgets, levels, ablations and masks that move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import Pruners
from Pruners._shared.distributions import DISTRIBUTIONS
from Pruners._shared.schedules import DEFAULT, SCHEDULES
from Utils.options.flags import COMPRESSION, COUNT, DENSITY, POSITIVE, SPARSITY, number
from Utils.options.option import Use, option
from Utils.options.parts import Affects


def _methods(options: Any) -> list[Any]:
    """Import the methods of a run: those that a study compares, or the one that prunes; none if it keeps every weight."""
    return [Pruners.load(name) for name in options.pruner_list or [options.pruner] if name != Pruners.DENSE]


def _rounds(options: Any) -> int:
    return max((options.prune_epochs or method.rounds for method in _methods(options)), default=0)


PRUNES = Use("methods that prune", _methods)
SCORES_IMAGES = Use("methods that score images", lambda o: any(method.needs_data for method in _methods(o)))
SEVERAL_ROUNDS = Use("pruning in several rounds", lambda o: _rounds(o) > 1)
RANKS = Use(
    "methods without budgets of layers",
    lambda o: not o.mask_distribution and any(method.distribution is None for method in _methods(o)),
)
MOVES_MASKS = Use("methods that move their masks in training", lambda o: any(method.growth for method in _methods(o)))


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
        "prune", "rounds of scoring; default: the method's (100 for synflow, else 1)", None, POSITIVE, use=PRUNES
    )
    compression_schedule: str = option(
        "prune", "densities of the rounds", DEFAULT, choices=tuple(SCHEDULES), use=SEVERAL_ROUNDS
    )
    mask_scope: str = option(
        "prune",
        "rank all weights together, or each layer's; methods with budgets and --mask-distribution always rank each layer's",
        "global",
        choices=("global", "local"),
        use=RANKS,
    )
    mask_distribution: str | None = option(
        "prune",
        "budgets of the layers, in which the method's scores choose; default: by method",
        None,
        choices=tuple(DISTRIBUTIONS),
        use=PRUNES,
    )
    prune_dataset_ratio: int = option("prune", "scoring images per class", 10, POSITIVE, use=SCORES_IMAGES)
    prune_batch_size: int = option("prune", "images per scoring step", 256, POSITIVE, use=SCORES_IMAGES)
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
    shuffle: bool = option("ablations", "permute each mask within its layer after pruning", False, None, use=PRUNES)
    invert: bool = option("prune", "remove the largest scores instead of the smallest", False, None, use=PRUNES)
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
    update_interval: int = option(
        "updates", "training steps from one update of the masks to the next", 100, POSITIVE, use=MOVES_MASKS
    )
    update_end_fraction: float = option(
        "updates", "share of the training after which the masks stay", 0.75, number(above=0, high=1), use=MOVES_MASKS
    )
    drop_fraction: float = option(
        "updates", "share of the active weights that the first update replaces", 0.3, number(above=0, high=1), use=MOVES_MASKS
    )
