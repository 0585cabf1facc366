"""Runs saved or killed when fewer kinds of layers were prunable: they reopen and go on with the weights that they recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from Models.layers import weights_of
from Utils.training.phase import Training

FILE = """
from torch import nn
class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.GRU(8, 16, batch_first=True), nn.Linear(16, 3)
    def forward(self, x): return self.head(self.rnn(x.flatten(1, 2))[0][:, -1])
def rows(shape, classes): return Rows()
"""
WORDS = [
    "--model", "rows.py:rows", "--dataset", "synthetic:1x8x8:3:60", "--pruner", "mag", "--sparsity", "0.5", "--expid", "x",
    "--pre-epochs", "1", "--post-epochs", "3", "--checkpoint-every", "1",
]  # fmt: skip


def of_before(module: nn.Module) -> list[str]:
    """Name the prunable weights as earlier versions did."""
    return weights_of(module) if isinstance(module, nn.Conv2d | nn.Linear) else []


def masked(folder: str) -> dict[str, int]:
    """Return the kept weights of each tensor that has a mask in the saved network."""
    state = torch.load(f"{folder}/model.pt")
    return {name.removesuffix("_mask"): int(mask.sum()) for name, mask in state.items() if name.endswith("_mask")}


@pytest.fixture
def earlier(command):
    """A patch under which only Conv2d and Linear are prunable."""
    Path("rows.py").write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("Models.masking.weights_of", of_before)
        yield patch


def test_a_saved_run_reopens_with_what_it_pruned(command, earlier):
    assert command(*WORDS).status == 0
    earlier.undo()
    folder = "Results/data/singleshot/x"
    assert masked(folder) == {"head.weight": 24}
    done = command("--experiment", "evaluate", "--run", folder, "--model", "rows.py:rows")
    assert done.status == 0, done.err


def test_a_killed_run_goes_on_with_what_it_pruned(command, earlier):
    train = Training._train

    def dies(self, model, epoch, share):
        if self.phase == "post_train" and epoch == 2:
            raise KeyboardInterrupt
        return train(self, model, epoch, share)

    earlier.setattr(Training, "_train", dies)
    assert command(*WORDS).status != 0
    earlier.undo()
    done = command(*WORDS)
    assert done.status == 0, done.err
    assert "Going on after epoch" in done.out
    folder = "Results/data/singleshot/x"
    assert masked(folder) == {"head.weight": 24}
    assert json.loads(Path(folder, "summary.json").read_text())["density"] == 0.5
