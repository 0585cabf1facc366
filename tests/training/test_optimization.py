"""Learning rates by hand, and what the optimizers' defaults are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from Utils.options.command_line import parse
from Utils.options.types import Options
from Utils.training.optimizers import factor, make_schedule

SMALL = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--pruner", "rand", "--lr", "0.1"]


def rates(epochs, **options):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    schedule = make_schedule(optimizer, Options(**options), epochs)
    found = []
    for _ in range(epochs):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def test_cosine_by_hand():
    assert rates(4, lr_schedule="cosine") == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])
    assert rates(1, lr_schedule="cosine") == [2.0] and rates(0, lr_schedule="cosine") == []


def test_cosine_without_warm_up_is_torchs():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    for rate in rates(7, lr_schedule="cosine"):
        assert rate == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()


def test_warm_up_by_hand():
    assert rates(6, lr_schedule="cosine", lr_warmup=2) == pytest.approx([2 / 3, 4 / 3, 2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])
    assert [factor("steps", done, 6, 2, (1, 4), 0.5) for done in range(6)] == pytest.approx([1 / 3, 1 / 3, 0.5, 0.5, 0.25, 0.25])
    assert rates(3, lr_warmup=9) == pytest.approx([0.2, 0.4, 0.6])


def test_steps_without_warm_up_are_torchs_own():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=2.0)
    options = Options(lr_drops=(1,))
    assert type(make_schedule(optimizer, options, 3)) is torch.optim.lr_scheduler.MultiStepLR


def test_each_phase_and_level_has_its_own(command):
    words = ["--experiment", "multishot", *SMALL, "--pre-epochs", "2", "--post-epochs", "4", "--level-list", "2", "--no-rewind",
             "--compression", "1", "--lr-schedule", "cosine", "--optimizer", "adamw", "--expid", "m"]  # fmt: skip
    assert command(*words).status == 0
    folder = Path("Results/data/multishot/m/level=2")
    pre, post = (pd.read_csv(folder / name) for name in ("pre-train.csv", "post-train.csv"))
    fine = [0.1 * factor("cosine", done, 4, 0) for done in range(4)]
    assert pre[pre["level"] == 0]["lr"][1:].tolist() == pytest.approx([0.1, 0.05])
    assert pre[pre["level"] == 1]["lr"][1:].tolist() == pytest.approx(fine) == post["lr"][1:].tolist()
    assert torch.load(folder / "scheduler.pt", weights_only=True)["last_epoch"] == 4


def test_a_rewound_cosine_goes_on_where_it_was(command):
    words = ["--experiment", "multishot", *SMALL, "--pre-epochs", "4", "--post-epochs", "4", "--level-list", "1", "--rewind-epoch", "2",
             "--compression", "1", "--lr-schedule", "cosine", "--lr-warmup", "1", "--expid", "m"]  # fmt: skip
    assert command(*words).status == 0
    folder = Path("Results/data/multishot/m/level=1")
    pre, post = (pd.read_csv(folder / name)["lr"].tolist() for name in ("pre-train.csv", "post-train.csv"))
    assert post[1:] == pre[3:]


@pytest.mark.parametrize(("words", "decay"), [
    (["--optimizer", "adamw"], 0.01), (["--optimizer", "adamw", "--weight-decay", "0"], 0.0), ([], 0.0),
    (["--optimizer", "adamw", "--weight-decay", "0.3"], 0.3), (["--optimizer", "adam"], 0.0),
])  # fmt: skip
def test_the_decay_of_adamw_is_torchs_unless_one_is_given(words, decay):
    assert parse(words).weight_decay == decay
    assert torch.optim.AdamW(nn.Linear(1, 1).parameters()).param_groups[0]["weight_decay"] == 0.01


def test_a_grids_own_record_has_the_decay_of_its_cells():
    plan = parse(["--optimizer", "adamw", "--seed-list", "1", "2", "--for", "rand:weight-decay=0.5"])
    decays = {cell.values.get("pruner", "rand"): cell.options.weight_decay for cell in plan.cells}
    assert plan.weight_decay == 0.01 and decays == {"dense": 0.01, "rand": 0.5}
    plan = parse(["--seed-list", "1", "2", "--for", "rand:optimizer=adamw"])
    assert plan.weight_decay == 0.0 and plan.cells[-1].options.weight_decay == 0.01


def test_cosine_and_drops_exclude_each_other(refused):
    refused(["--lr-schedule", "cosine", "--lr-drops", "5", "7"], "--lr-schedule cosine", "--lr-drops 5")
