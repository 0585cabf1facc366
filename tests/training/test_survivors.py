"""A pruned network goes on pruned: masks and zeros of a `--weights` file, budgets among what is left, `--weights-dense`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from Models.masking import add_masks
from Models.survivors import take_masks
from Pruners._shared.loop import shuffle_masks
from Utils.base.errors import Refused
from Utils.compute.precision import Precision
from Utils.options.command_line import parse
from Utils.runs.dense_cache import dense_path

DATA = ["--dataset", "synthetic:1x4x4:3:60", "--model", "mine.py:net", "--post-epochs", "1"]
NET = """
from torch import nn
def net(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(16, 10), nn.ReLU(), nn.Linear(10, classes))
"""
SIZES = {"1.weight": 160, "3.weight": 30}


@pytest.fixture
def pruned(command):
    """Write `masked.pt`, of which the masks keep a quarter of each layer (40 and 7), and `zeros.pt`, the same without masks."""
    Path("mine.py").write_text(NET)
    torch.manual_seed(0)
    state = {"1.weight": torch.randn(10, 16), "1.bias": torch.zeros(10), "3.weight": torch.randn(3, 10), "3.bias": torch.zeros(3)}
    masks = {}
    for name, kept in (("1.weight", 40), ("3.weight", 7)):
        mask = torch.zeros(SIZES[name])
        mask[torch.randperm(SIZES[name])[:kept]] = 1
        masks[name] = mask.view_as(state[name])
    torch.save({**state, **{f"{name}_mask": mask for name, mask in masks.items()}}, "masked.pt")
    torch.save({name: t * masks.get(name, 1) for name, t in state.items()}, "zeros.pt")
    return masks


def run(command, *words, name="x"):
    done = command(*DATA, "--expid", name, *words)
    assert done.status == 0, done.err
    state = torch.load(sorted(Path("Results/data").rglob("model.pt"))[0])
    return done.out, {n: state[f"{n}_mask"] for n in SIZES}, {n: state[n] for n in SIZES}


@pytest.mark.parametrize("file", ["masked.pt", "zeros.pt"])
def test_training_goes_on_with_what_is_left(command, pruned, file):
    out, masks, weights = run(command, "--weights", file, "--pre-epochs", "1")
    assert "47 of 190 prunable weights are left (0.2474)" in out
    assert ("1.weight (120 of 160 are zero), 3.weight (23 of 30 are zero)" in out) == (file == "zeros.pt")
    for name, mask in pruned.items():
        assert torch.equal(masks[name], mask) and not weights[name][mask == 0].any() and weights[name][mask == 1].all()


def test_weights_dense_takes_them_all(command, pruned, refused):
    out, masks, weights = run(command, "--weights", "zeros.pt", "--weights-dense")
    assert "are left" not in out and all(mask.all() for mask in masks.values()) and weights["1.weight"].count_nonzero() > 40
    few = command(*DATA, "--expid", "few", "--weights", "zeros.pt", "--weights-dense", "--pruner", "mag", "--density", "0.5")
    assert "KEPT BY POSITION: the scores of 48 kept weights" in few.out and "zero themselves (1.weight)" in few.out
    refused([*DATA, "--weights-dense"], "--weights-dense", "--weights FILE")
    options = parse([*DATA, "--weights", "zeros.pt", "--pre-epochs", "1"])
    cpu = Precision(torch.device("cpu"))
    assert dense_path(options, cpu) != dense_path(replace(options, weights_dense=True), cpu)


@pytest.mark.parametrize("words", ["--pruner mag", "--pruner rand", "--pruner lamp", "--pruner snip", "--pruner grasp", "--pruner erk",
    "--pruner uniform-plus", "--pruner synflow --prune-epochs 3", "--pruner rand --mask-scope local", "--pruner mag --invert",
    "--pruner rand --mask-distribution uniform", "--pruner mag --shuffle"])  # fmt: skip
def test_pruning_chooses_among_survivors_and_density_is_of_all(command, pruned, words):
    prune = ["--experiment", "prune", *DATA[:4], "--expid", "x"]
    done = command(*prune, "--weights", "masked.pt", "--density", "0.1", *words.split())
    assert done.status == 0, done.err
    state = torch.load("Results/data/prune/x/model.pt")
    masks = {n: state[f"{n}_mask"] for n in SIZES}
    assert sum(int(m.sum()) for m in masks.values()) == 19  # a tenth of 190
    assert all((masks[n] <= pruned[n]).all() and not state[n][masks[n] == 0].any() for n in SIZES)


def test_budgets_above_what_is_left(pruned, refused, command):
    words = ["--experiment", "prune", *DATA[:4], "--weights", "masked.pt"]
    refused([*words, "--density", "0.5"], "keeps 95 weights, but only 47 of 190", "--density 0.247 ", "--weights-dense")
    refused([*words, "--density", "0.24", "--mask-scope", "local"], "keeps 8 weights of 3.weight, but only 7 of 30", "--mask-scope global")
    assert command(*words, "--density", "0.247", "--no-save").status == 0
    level = ["--experiment", "multishot", *DATA, "--weights", "masked.pt", "--level-list", "2"]
    refused([*level, "--prune-amount", "0.5"], "47 are left", "--density 0.06 ")


def test_levels_go_down_from_what_is_left(command, pruned):
    """Two levels from 47 to 19: 190 times the root of 47/190 * 0.1 are 29.9 weights."""
    words = ("--experiment", "multishot", "--level-list", "2", "--pre-epochs", "1", "--pruner", "mag", "--density", "0.1")
    _, masks, _ = run(command, "--weights", "masked.pt", *words)
    half = torch.load(sorted(Path("Results/data").rglob("masks-level-1.pt"))[0])
    assert sum(int(m.sum()) for m in half.values()) == 30 and sum(int(m.sum()) for m in masks.values()) == 19
    assert all((masks[n] <= half[n]).all() and (half[n] <= pruned[n]).all() for n in SIZES)


def linear():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    return net, add_masks(net)


def test_zeros_count_as_pruned_if_they_are_more_than_half_and_not_all():
    net, prunables = linear()
    with torch.no_grad():
        net[0].weight.view(-1)[:6] = 0  # just half
        net[1].weight.zero_()
    assert take_masks(net, prunables, {}, "f") == [] and all(p.mask.all() for p in prunables)
    with torch.no_grad():
        net[0].weight.view(-1)[6] = 0
    (zeros, left) = take_masks(net, prunables, {}, "f")
    assert "0.weight (7 of 12 are zero)" in zeros and "1.weight" not in zeros and "11 of 18" in left
    assert take_masks(net, add_masks(net), {"0.weight": torch.ones(3, 4)}, "f") == []  # masks are the truth
    assert prunables[0].mask.all()


def test_masks_of_what_is_not_prunable_are_refused_with_the_flag():
    net, prunables = linear()
    masks = {"1.bias": torch.tensor([0, 1])}
    with pytest.raises(Refused, match=r"f prunes 1\.bias, which this command does not: give --prune-bias, or give --weights-dense"):
        take_masks(net, prunables, masks, "f")
    take_masks(net, add_masks(net, bias=True), masks, "f")
    assert net[1].bias_mask.tolist() == [0, 1] and net[1].bias[0] == 0
    assert take_masks(net, prunables, {"1.bias": torch.tensor([True, True])}, "f") == []


def test_a_shuffle_stays_among_survivors():
    prunables = linear()[1]
    survivors = [torch.tensor([[1.0, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]), torch.ones(2, 3)]
    prunables[0].mask.copy_(torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]))
    before = prunables[0].mask.clone()
    for seed in range(5):
        shuffle_masks(prunables, seed, survivors)
        assert prunables[0].mask.sum() == 3 and (prunables[0].mask <= survivors[0]).all()
    assert not torch.equal(before, prunables[0].mask)
