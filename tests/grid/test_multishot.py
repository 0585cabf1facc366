"""Multishot: densities of the levels, nested masks, rewinding of everything, fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from Pruners._shared.masks import kept_count
from Pruners._shared.schedules import scheduled_density

BASE = ["--experiment", "multishot", "--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--expid", "m", "--pre-epochs", "3",
        "--post-epochs", "3"]  # fmt: skip
SIZE = 46700  # prunable weights of that fc


def cell(name):
    return Path("Results/data/multishot/m", name)


def masks_of(folder, level):
    return torch.load(folder / f"masks-level-{level}.pt", weights_only=True)


def test_iterative_magnitude_with_40_percent_removed_ten_times(command):
    """The densities 0.6, 0.36, ... 0.006 of the regrowth document's table; masks nest; each level's rows are saved."""
    assert command(*BASE, "--pruner", "mag", "--level-list", "10", "--prune-amount", "0.4", "--no-rewind").status == 0
    folder = cell("level=10")
    levels = pd.read_csv(folder / "levels.csv")
    assert levels["level"].tolist() == list(range(11))
    assert levels["density_asked"].tolist() == pytest.approx([0.6**level for level in range(11)])
    before = None
    for level in range(1, 11):
        masks = masks_of(folder, level)
        kept = sum(int(m.sum()) for m in masks.values())
        assert kept == kept_count(SIZE, 0.6**level) == round(levels["density"][level] * SIZE)
        assert before is None or all(not (masks[n] & ~before[n]).any() for n in masks)
        before = masks
        assert pd.read_csv(folder / f"compression-level-{level}.csv").query("prunable")["kept"].sum() == kept
    state = torch.load(folder / "model.pt", weights_only=True)
    assert all(torch.equal(state[f"{name}_mask"] > 0, mask) for name, mask in before.items())
    pre = pd.read_csv(folder / "pre-train.csv")
    assert pre.groupby("level")["epoch"].apply(list).to_dict() == {level: [0, 1, 2, 3] for level in range(10)}
    assert pd.read_csv(folder / "post-train.csv")["epoch"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("pruner", ["lamp", "mag"])
def test_a_ladder_with_early_stopping(command, pruner):
    """Iterative pruning with fine-tuning: AdamW, a cosine for each level, the best validation accuracy of each level kept."""
    words = [*BASE, "--pruner", pruner, "--level-list", "10", "--prune-amount", "0.4", "--no-rewind", "--val-fraction", "0.2",
             "--patience", "2", "--optimizer", "adamw", "--lr-schedule", "cosine", "--post-epochs", "4"]  # fmt: skip
    assert command(*words).status == 0
    folder, before = cell("level=10"), None
    levels, pre, post = (pd.read_csv(folder / f"{name}.csv") for name in ("levels", "pre-train", "post-train"))
    for level, sparsity in enumerate([0.4, 0.64, 0.784, 0.8704, 0.9222, 0.9533, 0.9720, 0.9832, 0.9899, 0.9940], 1):
        masks = masks_of(folder, level)
        assert sum(int(m.sum()) for m in masks.values()) == kept_count(SIZE, 0.6**level)
        assert 1 - levels["density"][level] == pytest.approx(sparsity, abs=1 / SIZE + 5e-5)
        assert before is None or all(not (masks[n] & ~before[n]).any() for n in masks)
        rows, before = (post if level == 10 else pre[pre["level"] == level]).reset_index(drop=True), masks
        best = int(rows["val_top1"][1:].idxmax())  # of the trained ones
        assert levels["kept_epoch"][level] == best and levels["top1_last"][level] == rows["top1_accuracy"][best]
        assert len(rows) - 1 == min(4, best + 2)
        assert rows["lr"][1:].tolist() == pytest.approx([0.001 * x for x in (1, 0.5 + 0.125**0.5, 0.5, 0.5 - 0.125**0.5)][: len(rows) - 1])


def test_one_shot_pruning_with_fine_tuning(command):
    """One level without rewinding is what singleshot does after dense training."""
    words = ["--pruner", "lamp", "--sparsity", "0.99", "--val-fraction", "0.2", "--patience", "2", "--optimizer", "adamw"]
    assert command(*BASE, *words, "--level-list", "1", "--no-rewind").status == 0
    assert command(*BASE[2:], *words).status == 0
    one, other = cell("level=1"), Path("Results/data/singleshot/m")
    for file in ("post-train.csv", "compression.csv"):
        assert pd.read_csv(one / file).drop(columns="seconds", errors="ignore").equals(pd.read_csv(other / file).drop(columns="seconds", errors="ignore"))
    states = [torch.load(folder / "model.pt", weights_only=True) for folder in (one, other)]
    assert all(torch.equal(t, states[1][k]) for k, t in states[0].items())


def test_the_ancestors_density_per_level(command):
    assert command(*BASE, "--pruner", "snip", "--level-list", "1", "4", "--compression-list", "1", "2").status == 0
    for compression in (1, 2):
        for count in (1, 4):
            levels = pd.read_csv(cell(f"compression={compression},level={count}") / "levels.csv")
            assert levels["density_asked"][1:].tolist() == pytest.approx([10 ** (-compression * (i + 1) / count) for i in range(count)])
    grid = pd.read_csv("Results/data/multishot/m/grid.csv")
    assert grid["cell"].tolist()[0] == "pruner=dense" and grid["level"].tolist() == [1, 1, 4, 1, 4] and set(grid["status"]) == {"done"}


@pytest.mark.parametrize("rewind", [0, 2])
def test_rewinding_puts_everything_back(command, rewind):
    """With nothing pruned each level repeats the one before to the last digit, momentum, schedule and BatchNorm included."""
    words = [w if w != "fc" else "resnet20" for w in BASE]
    words[words.index("synthetic:1x8x8:3:60")] = "synthetic:3x8x8:3:60"
    more = ["--compression", "0", "--pruner", "rand", "--level-list", "3", "--optimizer", "momentum", "--lr", "0.05", "--lr-drops", "2"]
    assert command(*words, *more, "--rewind-epoch", rewind).status == 0
    rows = pd.read_csv(cell("level=3") / "pre-train.csv").drop(columns="seconds")
    first = rows[(rows["level"] == 0) & (rows["epoch"] >= rewind)].drop(columns="level").reset_index(drop=True)
    for level in (1, 2):
        again = rows[rows["level"] == level].drop(columns="level").reset_index(drop=True)
        assert again["epoch"].tolist() == list(range(rewind, 4))
        assert again[1:].equals(first[1:]) and again["test_loss"][0] == first["test_loss"][0]
    post = pd.read_csv(cell("level=3") / "post-train.csv")
    assert post["test_loss"][0] == first["test_loss"][0] and post["lr"].iloc[-1] == first["lr"].iloc[-1]


def test_rewound_weights_are_the_first_ones_under_the_masks(command):
    assert command(*BASE, "--pruner", "mag", "--level-list", "2", "--compression", "0.5", "--post-epochs", "0").status == 0
    initial, state = (torch.load(cell("level=2") / name, weights_only=True) for name in ("initial.pt", "model.pt"))
    for name in (n for n in state if n.endswith(".weight")):
        assert torch.equal(state[name], initial[name] * state[f"{name}_mask"])
        assert 0 < state[f"{name}_mask"].mean() < 1


def test_reinitialize_is_not_overwritten_by_rewinding(command):
    words = [*BASE, "--pruner", "mag", "--level-list", "2", "--compression", "0.5", "--post-epochs", "0"]
    assert command(*words, "--ablate", "none", "reinit", "shuffle").status == 0
    states = {name: torch.load(cell(f"level=2,ablate={name}") / "model.pt", weights_only=True) for name in ("none", "reinit", "shuffle")}
    for key in (k for k in states["none"] if k.endswith("_mask")):
        weight = key.removesuffix("_mask")
        assert torch.equal(states["none"][key], states["reinit"][key])
        assert not torch.equal(states["none"][weight], states["reinit"][weight])
        assert states["shuffle"][key].sum() == states["none"][key].sum() and not torch.equal(states["shuffle"][key], states["none"][key])
    table = pd.read_csv("Results/data/multishot/m/ablation.csv")
    assert table["ablate"].tolist() == ["none", "reinit", "shuffle"] and table["delta"][0] == 0


def test_several_rounds_in_a_level_begin_at_the_level_before(command):
    """They began at density 1 again: with rounds of SNIP the first of them must not bring anything back."""
    assert [scheduled_density("exponential", 0.25, k, 2, 0.5) for k in (0, 1)] == pytest.approx([0.5**1.5, 0.25])
    assert [scheduled_density("linear", 0.25, k, 2, 0.5) for k in (0, 1)] == pytest.approx([0.375, 0.25])
    assert command(*BASE, "--pruner", "synflow", "--prune-epochs", "3", "--level-list", "2", "--compression", "1").status == 0
    first, second = (masks_of(cell("level=2"), level) for level in (1, 2))
    assert all(not (second[n] & ~first[n]).any() for n in first)
    assert sum(int(m.sum()) for m in first.values()) == kept_count(SIZE, 10**-0.5)


def test_a_failed_level_keeps_the_rows_of_all_levels(command):
    done = command(*BASE, "--pruner", "rand", "--level-list", "2", "--compression", "0.5", "--for", "rand:lr=1e30", "rand:optimizer=sgd",
                   "rand:pre-epochs=0")  # fmt: skip
    assert done.status == 1 and "level=2" in done.err
    summary = json.loads((cell("level=2") / "summary.json").read_text())
    assert summary["status"] == "failed" and "diverged at epoch 1 of post_train" in summary["reason"]
    rows = pd.read_csv(cell("level=2") / "post-train.csv")
    assert sorted(set(rows["level"])) == [0, 1, 2]
