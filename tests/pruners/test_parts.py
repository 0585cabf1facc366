"""Schedules, distributions and growths: by hand, by name, and handed in by a pruner's own file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from conftest import PROJECT
from torch import nn

import Pruners
from Models.masking import add_masks
from Pruners._shared.distributions import DISTRIBUTIONS, ErdosRenyiKernel, Uniform
from Pruners._shared.dynamics import GROWTHS, DropAndGrow, GradientGrowth
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Pruners._shared.schedules import SCHEDULES, Exponential, Linear, scheduled_density
from Pruners._shared.scopes import SCOPES, Local
from Pruners.base import Pruner
from Pruners.mag import Mag
from Utils.options.table import table


def test_schedules_by_hand():
    assert [scheduled_density(Exponential(), 0.01, k, 2) for k in (0, 1)] == pytest.approx([0.1, 0.01])
    assert [scheduled_density(Linear(), 0.2, k, 4) for k in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
    assert scheduled_density("linear", 0.3, 6, 7) == 0.3  # exactly
    with pytest.raises(ValueError, match="compression schedule 'cubic': choose from linear, exponential"):
        scheduled_density("cubic", 0.5, 0, 2)


def test_the_choices_of_the_flags_are_the_objects():
    choices = {option.flag: option.choices for option in table()}
    assert choices["--compression-schedule"] == tuple(SCHEDULES) == ("linear", "exponential")
    assert choices["--mask-distribution"] == tuple(DISTRIBUTIONS) == ("erk", "uniform", "uniform-plus")
    assert choices["--mask-scope"] == tuple(SCOPES) == ("global", "local")


def test_the_names_need_no_torch():
    code = "import sys; import Pruners._shared.schedules, Pruners._shared.distributions, Pruners._shared.base; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


@pytest.mark.parametrize("part", [*SCHEDULES.values(), *DISTRIBUTIONS.values(), *GROWTHS.values(), *SCOPES.values(), DropAndGrow("random")])
def test_every_part_is_frozen_and_equal_to_its_like(part):
    assert part == type(part)(*vars(part).values()) and hash(part) == hash(type(part)(*vars(part).values()))
    with pytest.raises(FrozenInstanceError):
        part.last = 1


def linear_pair():
    """Two layers of 4 weights each: 1, 2, 3, 4 and 5, 6, 7, 8."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        for i, module in enumerate(net):
            module.weight.copy_(torch.arange(1.0, 5.0).view(2, 2) + 4 * i)
    return Problem(net, add_masks(net), (2,))


@dataclass(frozen=True)
class Cubic:
    """Zhu and Gupta's, from dense: d + (s - d) (1 - p)^3."""

    def density(self, progress, start, target):
        return target + (start - target) * (1 - progress) ** 3


@dataclass(frozen=True)
class FirstLayerOnly:
    """Everything for the first layer."""

    def budgets(self, layers, kept):
        return [kept] + [0] * (len(layers) - 1)


class Seen(Mag):
    """A pruner as a person may write it, with a schedule and a distribution of its own."""

    schedule = Cubic()

    def __init__(self):
        self.counts = []

    def score(self, problem):
        self.counts.append(sum(int(m.sum()) for m in problem.masks))
        return super().score(problem)


def test_a_schedule_of_ones_own():
    """From 8 weights to 2 in two rounds: after the first 0.25 + 0.75 / 8 = 0.34375 of 8 is 2.75, so 3 are kept."""
    pruner, p = Seen(), linear_pair()
    prune_loop(p, pruner, 0.25, rounds=2)
    assert pruner.counts == [8, 3] and sum(int(m.sum()) for m in p.masks) == 2
    pruner = Seen()
    prune_loop(linear_pair(), pruner, 0.25, rounds=2, schedule="linear")  # what the caller names stands above it: 5 of 8
    assert pruner.counts == [8, 5]


def test_a_distribution_of_ones_own():
    class First(Mag):
        distribution = FirstLayerOnly()

    p = linear_pair()
    prune_loop(p, First(), 0.25, rounds=1)
    assert [m.tolist() for m in p.masks] == [[[0, 0], [1, 1]], [[0, 0], [0, 0]]]


@pytest.mark.parametrize(("name", "part"), [("uniform", Uniform()), ("erk", ErdosRenyiKernel())])
def test_a_pruner_may_name_its_distribution(name, part):
    kept = []
    for own in (name, part):
        method = type("Own", (Mag,), {"distribution": own, "schedule": "linear"})
        p = linear_pair()
        prune_loop(p, method(), 0.5, rounds=2)
        kept.append([m.tolist() for m in p.masks])
    assert kept[0] == kept[1] == [[[0, 0], [1, 1]], [[0, 0], [1, 1]]]


def test_a_scope_by_object():
    p = linear_pair()
    prune_loop(p, Mag(), 0.25, rounds=1, scope=Local())
    assert [m.tolist() for m in p.masks] == [[[0, 0], [0, 1]], [[0, 0], [0, 1]]]
    prune_loop(q := linear_pair(), Mag(), 0.25, rounds=1)
    assert [m.tolist() for m in q.masks] == [[[0, 0], [0, 0]], [[0, 0], [1, 1]]]
    with pytest.raises(ValueError, match="mask scope 'layer': choose from global, local"):
        prune_loop(p, Mag(), 0.25, rounds=1, scope="layer")


OWN = '''
from dataclasses import dataclass
from Pruners.base import Layer, Pruner
import torch


class Backwards:
    def density(self, progress, start, target):
        return start - (start - target) * progress ** 2


class Own(Pruner):
    rounds = 2
    {attributes}

    def score(self, problem):
        return [w.detach().abs() for w in problem.weights()]
'''


@pytest.fixture
def own_pruner(tmp_path, monkeypatch):
    folder = tmp_path / "more"
    folder.mkdir()
    monkeypatch.setattr(Pruners, "__path__", [*Pruners.__path__, str(folder)])
    yield lambda attributes: (folder / "own_parts.py").write_text(OWN.format(attributes=attributes))
    sys.modules.pop("Pruners.own_parts", None)


def test_a_file_from_before_names_its_parts(command, own_pruner):
    """A pruner's file that holds `growth = "gradient"` and `distribution = "erk"` trains as rigl's masks do."""
    own_pruner('distribution, growth = "erk", "gradient"')
    done = command("--dataset", "synthetic:1x8x8:3:200", "--density", "0.2", "--train-batch-size", "10", "--update-interval", "5",
                   "--post-epochs", "1", "--pruner", "own-parts", "--expid", "x")  # fmt: skip
    assert done.status == 0 and "Masks: moved 2 times" in done.out, done.err


def test_a_file_with_a_schedule_of_its_own_and_the_flag(command, own_pruner):
    """1300 of 6500 weights kept of fc's; halfway 1 - 0.8 / 4 = 0.8 by its own schedule, 0.6 by `--compression-schedule linear`."""
    own_pruner("schedule = Backwards()")
    words = ["--experiment", "prune", "--dataset", "synthetic:1x8x8:3:30", "--density", "0.2", "--pruner", "own-parts", "--verbose"]
    shares = [command(*words, *more, "--no-save") for more in ([], ["--compression-schedule", "linear"])]
    assert [done.status for done in shares] == [0, 0]
    assert "(0.8000)" in shares[0].out + shares[0].err and "(0.6000)" in shares[1].out + shares[1].err


def test_gradients_that_are_missing_or_overflow_count_as_zero():
    weight = nn.Parameter(torch.ones(3))
    draws = torch.Generator()
    assert GradientGrowth().scores(weight, draws).tolist() == [0, 0, 0]
    weight.grad = torch.tensor([float("inf"), float("nan"), -2.0])
    assert GradientGrowth().scores(weight, draws).tolist() == [0, 0, 2]


def test_a_pruner_has_the_exponential_schedule():
    assert SCHEDULES[Pruner.schedule] == Exponential() and Pruner.distribution is None and Pruner.growth is None
