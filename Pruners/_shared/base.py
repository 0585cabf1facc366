"""The base class of all pruning methods: a method is a score per weight, and a choice of shared parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from Pruners._shared import schedules
from Pruners._shared.schedules import Schedule

if TYPE_CHECKING:
    import torch

    from Pruners._shared.distributions import Distribution
    from Pruners._shared.dynamics import Growth
    from Pruners._shared.problem import Problem


class Pruner:
    """A pruning method. A subclass lives in a file of `Pruners/` named after its flag, and sets class attributes.

    Schedule, distribution and growth are frozen objects of `Pruners/_shared/`, objects of a class of your own with the same
    method, or names.

    Attributes:
        rounds: default of `--prune-epochs`, the number of score-and-prune rounds.
        needs_data: whether `problem.batches` is read; methods without data run without a dataset.
        formula: the score in one line, for `--list pruners`.
        source: the paper.
        untrained_note: a line to print when the weights to be scored are untrained, if that matters.
        train_mode_note: a warning to print if scoring with the batch's BatchNorm statistics spoils the scores.
        schedule: the densities of the rounds (`schedules.py`), unless `--compression-schedule` names another than its default.
        distribution: the budgets of the layers (`distributions.py`), unless `--mask-distribution` names others; None: no budgets
            of layers, `--mask-scope` ranks.
        growth: what grows where the masks move in training (`dynamics.py`); None: the masks stay.
        one_each: whether the scores keep a weight of every layer, so that a smaller budget is refused.
    """

    rounds: ClassVar[int] = 1
    needs_data: ClassVar[bool] = False
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    untrained_note: ClassVar[str] = ""
    train_mode_note: ClassVar[str] = ""
    schedule: ClassVar[Schedule | str] = schedules.DEFAULT
    distribution: ClassVar[Distribution | str | None] = None
    growth: ClassVar[Growth | str | None] = None
    one_each: ClassVar[bool] = False

    def score(self, problem: Problem) -> list[torch.Tensor]:
        """Return one tensor per entry of `problem.prunables`, of its shape, finite; the largest scores stay."""
        raise TypeError(f"{type(self).__name__} has no method score")
