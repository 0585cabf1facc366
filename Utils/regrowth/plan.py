"""The plan of a regrowth: the number of weights that each step turns on; in a replay, the weights themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from Models.checkpoint_reader import read_checkpoint
from Models.state_dicts import names_in
from Utils.base.errors import Refused
from Utils.base.text import counted
from Utils.regrowth.allocation import even_parts
from Utils.regrowth.controller import Settings
from Utils.regrowth.outputs import read_places
from Utils.regrowth.start import PrunedNetwork, budget
from Utils.regrowth.step import check_places


@dataclass(frozen=True)
class Plan:
    """The steps of a regrowth.

    Attributes:
        counts: the number of weights of each step.
        places: for each step, layer -> flat places of the weights, with `--regrow-replay`; else empty.
    """

    counts: list[int]
    places: list[dict[str, torch.Tensor]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """The number of weights of all steps."""
        return sum(self.counts)

    def check_spent(self, steps: Sequence[Mapping[str, Any]]) -> None:
        """Fail if the regrown weights are not as many as planned; in a replay, some may be alive already."""
        spent = sum(sum(step["allocation"].values()) for step in steps)
        if not self.places and spent != self.total:
            raise AssertionError(f"{spent} weights were regrown, the budget is {self.total}")


def make_plan(opened: PrunedNetwork) -> Plan:
    """Plan the regrowth that the options ask for.

    Raises:
        Refused: the budget cannot be spent, a step has no weight to regrow, or the file of `--regrow-replay` does not fit.
    """
    options = opened.options
    places = _replayed(opened) if options.regrow_replay else []
    counts = [sum(map(len, p.values())) for p in places] if places else even_parts(budget(opened), options.regrow_steps)
    if not all(counts):
        raise Refused(f"--regrow-steps {options.regrow_steps}: there are {sum(counts)} weights to regrow")
    return Plan(counts, places)


def _replayed(opened: PrunedNetwork) -> list[dict[str, torch.Tensor]]:
    """Read the places that `--regrow-replay` names, step by step."""
    file = opened.options.regrow_replay
    steps = read_places(read_checkpoint(file, f"--regrow-replay {file}").tensors)
    if not steps:
        raise Refused(f"--regrow-replay {file}: it says of no weight that it was regrown")
    names = names_in(opened.layers, {name for places in steps for name in places})
    steps = [{names[name]: at for name, at in places.items()} for places in steps]
    for places in steps:
        check_places(opened, places)
    return steps


def announce(opened: PrunedNetwork, plan: Plan) -> None:
    """Print the plan: weights, steps, sparsities, and the methods."""
    options, kept = opened.options, opened.kept
    how = f"allocation {options.regrow_allocation}, selection {options.regrow_selection}"
    how = f"as {options.regrow_replay} says" if plan.places else how
    print(
        f"Regrowing {plan.total} of {opened.size} weights in {counted(len(plan.counts), 'step')}, from sparsity "
        f"{1 - kept / opened.size:.6g} to {1 - (kept + plan.total) / opened.size:.6g}: {how}, init {options.regrow_init}; "
        f"{counted(options.regrow_finetune_epochs, 'epoch')} after each step."
    )
    if options.regrow_allocation == "rl" and not plan.places:
        print(f"Controller: {Settings().text()}, episodes {options.regrow_episodes}, mini-epochs {options.regrow_mini_epochs}.")
