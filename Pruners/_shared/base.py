"""A pruning method is a score per weight; everything else (budget, scope, schedule, masks) exists once, elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import torch

    from Pruners._shared.problem import Problem


class Pruner:
    """Base of all methods. A subclass lives in a file named after its flag and says what the class attributes ask.

    Attributes:
        rounds: default of `--prune-epochs`, the number of score-and-prune rounds.
        needs_data: whether `problem.batches` is read; data-free methods run without a dataset.
        formula: the score in one line, for `--list pruners`.
        source: the paper.
        untrained_note: a line to print when the weights to be scored are untrained, if that matters.
        distribution: the budgets of the layers (`Pruners/_shared/layerwise.py`) if `--mask-distribution` names none; None: as
            `--mask-scope` says.
        growth: what grows where the masks move in training (`Pruners/_shared/updates.py`): random or gradient; None: they stay.
        one_each: whether the scores keep a weight of every layer, so that a smaller budget is refused.
    """

    rounds: ClassVar[int] = 1
    needs_data: ClassVar[bool] = False
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    untrained_note: ClassVar[str] = ""
    distribution: ClassVar[str | None] = None
    growth: ClassVar[str | None] = None
    one_each: ClassVar[bool] = False

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """One tensor per entry of `problem.prunables`, of its shape, finite; the largest scores stay."""
        raise TypeError(f"{type(self).__name__} has no method score")
