"""The ladder of the layer-wise methods, and their budgets through the command line."""

from __future__ import annotations

from itertools import pairwise

import pandas as pd
import pytest
import torch

import Pruners
from Models import registry
from Models.masking import add_masks
from Pruners._shared.loop import prune_loop
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Problem

LADDER = [0.4, 0.64, 0.784, 0.8704, 0.9222, 0.9533, 0.9720, 0.9832, 0.9899, 0.9940]  # sparsities of ten times 0.4
LAYERWISE = ("lamp", "erk", "uniform", "uniform-plus", "mag")


@pytest.mark.parametrize("name", LAYERWISE)
def test_the_ladder_of_ten_times_forty_percent(name):
    """Counted from what is left each time, as iterative pruning does; trained in between or not, counts are the same."""
    torch.manual_seed(0)
    net = registry.build("resnet20", "lottery", (3, 32, 32), 10)
    p = Problem(net, add_masks(net), (3, 32, 32))
    size = sum(m.numel() for m in p.masks)
    states = [[m.clone() for m in p.masks]]
    for level, sparsity in enumerate(LADDER, 1):
        prune_loop(p, Pruners.load(name)(), 0.6**level, rounds=1)
        kept = sum(int(m.sum()) for m in p.masks)
        assert kept == kept_count(size, 0.6**level) and abs(1 - kept / size - sparsity) <= 1 / size + 5e-5
        states.append([m.clone() for m in p.masks])
        with torch.no_grad():
            for q in p.prunables:
                q.weight.add_(torch.randn_like(q.weight) * 0.01)
    for before, after in pairwise(states):
        assert all(bool((a <= b).all()) for a, b in zip(after, before, strict=True))


SMALL = ["--dataset", "synthetic:1x8x8:3:60", "--model", "conv"]


@pytest.mark.parametrize("experiment", ["singleshot", "multishot", "prune", "layer-conservation", "unit-conservation"])
def test_they_work_in_every_experiment(command, experiment):
    words = ["--experiment", experiment, *SMALL, "--pruner-list", *LAYERWISE, "--density", "0.3", "--expid", "x"]
    words += ["--pre-epochs", "1", "--post-epochs", "1"] if experiment in ("singleshot", "multishot") else []
    words += ["--level-list", "2", "--no-rewind"] if experiment == "multishot" else []
    assert command(*words).status == 0
    if experiment in ("singleshot", "prune"):
        grid = pd.read_csv(f"Results/data/{experiment}/x/grid.csv")
        pruned = grid[~grid["cell"].str.contains("dense")]
        assert len(pruned) == 5 and pruned["params_kept"].nunique() == 1


def test_ablations_keep_each_layers_count(command):
    words = ["--experiment", "prune", *SMALL, "--pruner", "erk", "--density", "0.2", "--ablate", "none", "shuffle", "reinit", "invert"]
    assert command(*words, "--expid", "x").status == 0
    tables = [pd.read_csv(f"Results/data/prune/x/ablate={a}/compression.csv")["kept"] for a in ("none", "shuffle", "reinit", "invert")]
    assert all(tables[0].equals(t) for t in tables[1:])


def test_flags_read_whatever_the_pruner(command):
    for pruner in ("erk", "snip", "rand"):
        assert command("--experiment", "prune", *SMALL, "--pruner", pruner, "--mask-scope", "local", "--mask-distribution", "uniform").status == 0


@pytest.mark.parametrize(("words", "parts"), [
    (["--pruner", "uniform-plus", "--density", "0.001"], ["--pruner uniform-plus", "density 0.001", "a budget of"]),
    (["--pruner-list", "mag", "uniform-plus", "--density", "0.001"], ["cell pruner=uniform-plus", "a budget of"]),
    (["--pruner", "rand", "--mask-distribution", "uniform-plus", "--density", "0.001"], ["uniform-plus always keeps"]),
    (["--pruner", "lamp", "--density", "0.00002"], ["--pruner lamp", "a budget of 1 weights"]),
    (["--experiment", "multishot", "--pruner", "uniform-plus", "--prune-amount", "0.9", "--level-list", "5"], ["uniform-plus", "level=5"]),
    (["--mask-distribution", "cubic"], ["cubic", "uniform-plus"]),
])  # fmt: skip
def test_budgets_that_cannot_be_are_refused_at_once(refused, words, parts):
    refused([*SMALL, *words], *parts)
