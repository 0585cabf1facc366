"""The plan of a replay, from the file of the regrowth before."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from Utils.regrowth.plan import make_plan


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_replay_finds_the_layers_of_a_network_with_a_prefix(tmp_path, wrapped):
    """The reader of checkpoints takes `model.` for the trace of a wrapper, and the network's own names begin with it."""
    tensors = {"model.0.weight_mask": torch.tensor([1, 0, 1, 1], dtype=torch.uint8), "model.0.regrown.0": torch.tensor([2]),
               "model.0.regrown.1": torch.tensor([0, 3])}  # fmt: skip
    file = tmp_path / "regrow_masks.pt"
    torch.save({"state_dict": tensors} if wrapped else tensors, file)
    layers = {"model.0": SimpleNamespace(mask=torch.zeros(4))}
    opened = SimpleNamespace(layers=layers, options=SimpleNamespace(regrow_replay=str(file), regrow_steps=1))
    plan = make_plan(opened)
    assert plan.counts == [1, 2] and [{n: at.tolist() for n, at in p.items()} for p in plan.places] == [{"model.0": [2]}, {"model.0": [0, 3]}]
