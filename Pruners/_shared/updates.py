"""Dynamic sparse training: masks that move while the network trains, at a constant count in every layer.

`Pruners/_shared/dynamics.py` says when masks move and what grows. In each layer as many weights grow as are dropped. A weight
that grows was inactive before the update, so that a dropped weight cannot come back at once. It starts at 0, and the optimizer's
state of every entry that moved is cleared.

In RigL (Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, algorithm 1) an update takes the place of a training step;
here it follows one, with the gradients of that step, so that every method takes the same number of steps. An update is a
function of the network, the seed and the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch

from Models.masking import Prunable
from Pruners._shared.dynamics import DropAndGrow
from Pruners._shared.masks import keep_largest
from Utils.base.seeds import generator

COLUMNS = ("step", "epoch", "fraction", "module", "param", "active", "dropped", "grown")


class MaskUpdates:
    """The updates of one training of `steps` steps, `steps_per_epoch` an epoch.

    Attributes:
        rows: a row of `COLUMNS` for every layer of every update. `fraction` is the share of the active weights that is replaced,
            `active` the layer's count before and after.
    """

    def __init__(
        self, prunables: Sequence[Prunable], dynamics: DropAndGrow, seed: int, *, steps: int, steps_per_epoch: int
    ) -> None:
        self._prunables, self._dynamics, self._seed, self._steps = list(prunables), dynamics, seed, steps
        self.steps_per_epoch = steps_per_epoch
        self.rows: list[tuple[Any, ...]] = []
        self._explored = [p.mask > 0 for p in self._prunables]

    def due(self, step: int) -> bool:
        """Tell whether masks move after step `step`, counted from 1."""
        return self._dynamics.due(step, self._steps)

    def fraction(self, step: int) -> float:
        """Return the share of a layer's active weights that an update after `step` replaces."""
        return self._dynamics.fraction(step, self._steps)

    @torch.no_grad()
    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Move the masks, if an update is due; the parameters must still have the gradients of this step."""
        if not self.due(step):
            return
        share, draws = self.fraction(step), generator(self._seed, "grow", step)
        epoch = -(-step // self.steps_per_epoch)
        for prunable, explored in zip(self._prunables, self._explored, strict=True):
            active, moved = self._move(prunable, share, draws, optimizer)
            explored |= prunable.mask > 0
            self.rows.append((step, epoch, share, prunable.module_name, prunable.param, active, moved, moved))

    def _move(
        self, prunable: Prunable, share: float, draws: torch.Generator, optimizer: torch.optim.Optimizer
    ) -> tuple[int, int]:
        """Update one layer; return how many weights are active, and how many of them are new."""
        weight, mask = prunable.weight, prunable.mask
        before = mask.clone()
        active = int(torch.count_nonzero(before))
        count = min(math.floor(share * active + 1e-6), before.numel() - active)
        scores = self._dynamics.growth.scores(weight, draws)
        grown = 1 - before
        keep_largest([scores], [grown], count, floor=count)
        keep_largest([weight.detach().abs()], [mask], active - count, floor=active - count)
        mask.add_(grown)
        moved = mask != before
        if int(torch.count_nonzero(mask)) != active or int(torch.count_nonzero(moved)) != 2 * count:
            raise AssertionError(f"{prunable.name}: an update must replace {count} of {active} weights, and no more")
        weight.mul_(mask)
        for value in optimizer.state.get(weight, {}).values():
            if isinstance(value, torch.Tensor) and value.shape == weight.shape:
                value.masked_fill_(moved, 0)
        return active, count

    def table(self) -> pd.DataFrame:
        """Return the rows as a table of `COLUMNS`."""
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def summary(self) -> dict[str, Any]:
        """Return how often masks moved (`mask_updates`), and the share of the weights that were ever active (`explored`).

        The share is R_s of Liu, Yin, Mocanu and Pechenizkiy 2021, arXiv 2102.02887.
        """
        seen, size = sum(int(e.sum()) for e in self._explored), sum(e.numel() for e in self._explored)
        return {"mask_updates": len({row[0] for row in self.rows}), "explored": seen / size}

    def state(self) -> dict[str, Any]:
        """Return the state that a checkpoint keeps beside network and optimizer."""
        return {"rows": self.rows, "explored": self._explored}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state that `state()` returned."""
        self.rows = [tuple(row) for row in state["rows"]]
        for own, saved in zip(self._explored, state["explored"], strict=True):
            own.copy_(saved)
