"""The rival of equal epochs: plain pruning to the regrown sparsity, trained as long as the regrown network in all.

It begins with the dense network of the start's own run. The start's method prunes it to the regrown sparsity; then it is trained
as the start network was, with the start's recipe, images and data order; then it is fine-tuned as the regrown one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from Models.checkpoint_reader import read_checkpoint
from Pruners._shared.masks import kept_count
from Utils.compute.clock import Clock
from Utils.compute.precision import Precision
from Utils.regrowth.finetune import finetune
from Utils.regrowth.origin import Origin, here, rewound_state
from Utils.regrowth.start import PrunedNetwork, Validated
from Utils.runs.dense_cache import copied
from Utils.runs.levels import Level, levels_of
from Utils.runs.stages import Stages
from Utils.training.masked_network import MaskedNetwork
from Utils.training.moving_masks import mask_updates
from Utils.training.phase import COLUMNS, Training
from Utils.training.set_up import load_pruner, use_threads


def trained_like_the_start(opened: PrunedNetwork, origin: Origin, stages: Stages, clock: Clock, kept: int) -> dict[str, Any]:
    """Prune the dense network of `origin` to `kept` weights, and train it as the start network; it stays loaded.

    `--compact` of the start is left out: its small network computes the same function.

    Returns:
        "rows", those of `VALIDATION` for each epoch, and "method", the way in which it was pruned.
    """
    use_threads(opened.model, origin.options, opened.data.input_shape)
    rival = _Rival(opened, origin, stages, clock, network_of(opened, origin), kept)
    rows = [row for level in rival.levels for row in rival.prune_and_train(level)]
    use_threads(opened.model, opened.options, opened.data.input_shape)
    for number, (options, steps) in enumerate(origin.regrowths):
        data = opened.datasets.open(here(replace(options, seed=options.split_seed), opened), opened.device)
        again = replace(opened, options=options, data=data, precision=Precision.of(options, opened.device))
        for step in range(steps):
            name = f"equal-regrowth-{number}-{step}"
            rows += finetune(again, stages, clock, name, step, options.regrow_finetune_epochs)["rows"]
    return {"rows": rows, "method": f"{origin.options.pruner} of {'the dense' if origin.dense_epochs else 'the initial'} network"}


def density_of(kept: int, size: int) -> float:
    """Return a density at which pruning keeps exactly `kept` of `size` weights."""
    density = kept / size
    return density if kept_count(size, density) == kept else (kept - 0.5) / size  # the nearest one that rounds to this number


def network_of(opened: PrunedNetwork, origin: Origin) -> MaskedNetwork:
    """Return the network of `opened` with the options, images, scoring subset and precision of the start's own run."""
    options = origin.options
    data = opened.datasets.open(here(options, opened), opened.device)
    torch.manual_seed(options.seed)
    subset = data.scoring_subset(data.num_classes * options.prune_dataset_ratio)
    precision = Precision.of(options, opened.device)
    return MaskedNetwork(opened.model, opened.prunables, data, opened.device, options, precision, subset)


@dataclass
class _Rival:
    """The pruning and training of the start's run, done again to another sparsity.

    Attributes:
        network: the network, with the options and images of that run.
        kept: the number of weights that it keeps.
    """

    opened: PrunedNetwork
    origin: Origin
    stages: Stages
    clock: Clock
    network: MaskedNetwork
    kept: int

    def __post_init__(self) -> None:
        self.options = self.origin.options
        self.pruner = load_pruner(self.options)
        self.rewound = rewound_state(self.opened, self.origin)
        target = replace(self.options, density=density_of(self.kept, self.opened.size))
        once = Level(1, 1.0, target.density, "post_train", "post_train", self.options.post_epochs, True)
        self.levels = levels_of(target, 1.0) if self.options.level else [once]

    def prune_and_train(self, level: Level) -> list[list[float | None]]:
        """Prune and train one level; return the rows of its training. A single shot is one level."""
        pruned = self.stages.once(f"equal-prune-{level.number}", lambda: self._prune(level))
        self.opened.load(pruned["model"])
        if not self.options.reads("epochs") or level.epochs <= self.options.rewind_epoch:
            return []
        name = f"equal-train-{level.number}"
        done = self.stages.once(name, lambda: self._train(level, name))
        self.opened.load(done["model"])
        return done["rows"]

    def _prune(self, level: Level) -> dict[str, Any]:
        if level.number == 1:
            with torch.no_grad():
                for p in self.opened.prunables:
                    p.mask.fill_(1)
            self.opened.load(_values(self.opened, self.origin))
            print(f"Plain pruning with equal epochs: {self.options.pruner} to {self.kept} of {self.opened.size} weights.")
        self.network.prune(self.pruner, level.density, level.from_density, ablate=False)
        if self.options.level and not self.options.no_rewind:
            self.opened.load(self.rewound["model"] if self.rewound else _initial(self.opened, self.origin))
        if level.last:
            self.network.ablate()
        return {"model": self.opened.cloned_state()}

    def _train(self, level: Level, name: str) -> dict[str, Any]:
        images: Any = Validated(self.network.data, self.opened.data, watched=bool(self.options.patience))
        network = replace(self.network, data=images)
        training = Training(
            network, level.phase, self.clock, order=level.order, first=self.options.rewind_epoch, epochs=level.epochs,
            updates=mask_updates(self.pruner, network),
        )  # fmt: skip
        if self.rewound:
            training.restore(copied(self.rewound) | {"model": network.model.state_dict()})
        self.stages.train(name, training)
        return {"rows": [list(row[: len(COLUMNS)]) for row in training.rows], "model": self.opened.cloned_state()}


def _values(opened: PrunedNetwork, origin: Origin) -> Mapping[str, torch.Tensor]:
    return read_checkpoint(origin.file).named_as(opened.model, str(origin.file)).tensors


def _initial(opened: PrunedNetwork, origin: Origin) -> Mapping[str, torch.Tensor]:
    return _values(opened, replace(origin, file=origin.file.with_name("initial.pt")))
