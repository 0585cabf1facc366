"""Dynamic sparse training: masks that move while the network trains, at a constant count in every layer.

After every `--update-interval`-th step each layer drops its smallest weights and grows as many others. The share f of a layer's
active weights falls with the step t from a = `--drop-fraction` to 0 at T_end = `--update-end-fraction` of all steps:
f = a/2 (1 + cos(pi t / T_end)) (Evci, Gale, Menick, Castro and Elsen 2020, arXiv 1911.11134, section 3).

What is grown was inactive before the update, so that what it dropped does not come back at once; it starts at 0, and the
optimizer's state of every entry that moved is cleared. In RigL's algorithm 1 an update takes the place of a step; here it follows
one, with that step's gradients, so that every method takes the same number of steps. An update is a function of the
network, the seed and the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch

from Models.masking import Prunable
from Pruners._shared.masks import keep_largest
from Utils.base.seeds import generator

GROWTHS = ("random", "gradient")
COLUMNS = ("step", "epoch", "fraction", "module", "param", "active", "dropped", "grown")


class MaskUpdates:
    """The updates of one training of `steps` steps, `steps_per_epoch` an epoch.

    Attributes:
        rows: a row of `COLUMNS` for every layer of every update; `fraction` is f, `active` the layer's count before and after.
    """

    def __init__(
        self,
        prunables: Sequence[Prunable],
        growth: str,
        seed: int,
        *,
        steps: int,
        steps_per_epoch: int,
        interval: int = 100,
        drop_fraction: float = 0.3,
        end_fraction: float = 0.75,
    ) -> None:
        if growth not in GROWTHS:
            raise ValueError(f"growth {growth!r}: choose from {', '.join(GROWTHS)}")
        self._prunables, self._growth, self._seed = list(prunables), growth, seed
        self._interval, self._drop, self._end = interval, drop_fraction, end_fraction * steps
        self.steps_per_epoch = steps_per_epoch
        self.rows: list[tuple[Any, ...]] = []
        self._explored = [p.mask > 0 for p in self._prunables]

    def due(self, step: int) -> bool:
        """Whether masks move after step `step`, counted from 1."""
        return step % self._interval == 0 and step < self._end

    def fraction(self, step: int) -> float:
        """f, the share of a layer's active weights that an update after `step` replaces."""
        return self._drop / 2 * (1 + math.cos(math.pi * step / self._end))

    @torch.no_grad()
    def after_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Move the masks, if an update is due; the parameters have the gradients of the batch of this step."""
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
        """Update one layer; returns how many weights are active, and how many of them are new."""
        weight, mask = prunable.weight, prunable.mask
        before = mask.clone()
        active = int(torch.count_nonzero(before))
        count = min(math.floor(share * active + 1e-6), before.numel() - active)
        scores = self._scores(weight, draws)
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

    def _scores(self, weight: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        """What the largest of grow: uniform draws, made on the CPU, or |dL/dw|; an overflow of float16 counts as 0."""
        if self._growth == "random":
            return torch.rand(weight.shape, generator=draws).to(weight.device)
        if weight.grad is None:
            return torch.zeros_like(weight)
        return weight.grad.abs().nan_to_num(nan=0.0, posinf=0.0)

    def table(self) -> pd.DataFrame:
        """The rows as a table."""
        return pd.DataFrame(self.rows, columns=COLUMNS)

    def summary(self) -> dict[str, Any]:
        """How often masks moved, and which share of the weights was active at some time.

        The latter is R_s of Liu, Yin, Mocanu and Pechenizkiy 2021, arXiv 2102.02887.
        """
        seen, size = sum(int(e.sum()) for e in self._explored), sum(e.numel() for e in self._explored)
        return {"mask_updates": len({row[0] for row in self.rows}), "explored": seen / size}

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs beside network and optimizer."""
        return {"rows": self.rows, "explored": self._explored}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to `state`."""
        self.rows = [tuple(row) for row in state["rows"]]
        for own, saved in zip(self._explored, state["explored"], strict=True):
            own.copy_(saved)
