"""Convolutions are stored channels last while tensor cores train them, and as usual before and after."""

from __future__ import annotations

import pytest
import torch
from device_commands import DATA
from graph_stand_in import Recorded
from torch import nn

from Models.masking import add_masks, apply_masks
from Models.shapes import image_format
from Utils.base.tensor_files import on_cpu
from Utils.compute import graphs as graphs_module
from Utils.compute.clock import Clock
from Utils.compute.precision import Precision
from Utils.data.open_set import open_dataset
from Utils.options.command_line import parse
from Utils.runs.dense_cache import copied
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Training

CPU = torch.device("cpu")


class Net(nn.Module):
    """Two convolutions and a linear layer; notes in each forward pass whether a weight is channels last."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.second, self.head = nn.Conv2d(4, 4, 3), nn.Linear(4, 3)
        self.seen = []

    def forward(self, x):
        self.seen.append(is_last(self.first.weight))
        return self.head(self.second(torch.relu(self.norm(self.first(x)))).mean((2, 3)))


def is_last(tensor):
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def test_images_on_a_card_have_the_layout_of_the_weights():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)).to("meta")
    assert image_format(model) == torch.contiguous_format
    assert image_format(model.to(memory_format=torch.channels_last)) == torch.channels_last
    assert image_format(nn.Linear(2, 2).to("meta")) == torch.contiguous_format


@pytest.fixture
def data():
    found = open_dataset("synthetic:3x8x8:3:40")
    found.load()
    return found


def training(data, optimizer="adam", *words):
    torch.manual_seed(0)
    model = Net()
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_(torch.rand(p.mask.shape) < 0.5)
    apply_masks(prunables)
    options = parse([*DATA, "--optimizer", optimizer, "--lr", "0.01", *words])
    return Training(MaskedNetwork(model, prunables, data, CPU, options, Precision(CPU)), "post_train", Clock(CPU), epochs=3)


def tensors(made):
    """What a training stores by convolution: weight, mask, and the tensors of the optimizer."""
    for module in (made.model.first, made.model.second):
        state = [t for t in made.optimizer.state[module.weight].values() if isinstance(t, torch.Tensor) and t.dim() == 4]
        yield [module.weight, module.weight_mask, *state]


@pytest.mark.parametrize(("optimizer", "states"), [("adam", 2), ("momentum", 1), ("rms", 1)])
def test_convolutions_are_channels_last_while_they_train(data, monkeypatch, optimizer, states):
    monkeypatch.setattr(Precision, "layout", torch.channels_last)
    made, seen = training(data, optimizer), []
    objects = [group[:2] for group in tensors(made)]

    def look(now):
        for group in tensors(now):
            assert len(group) == 2 + (states if now.epoch else 0) and all(is_last(tensor) for tensor in group)
        seen.append(copied(on_cpu(now.state())))

    made.run(3, look)
    assert all(made.model.seen) and len(seen) == 3
    for before, group in zip(objects, tensors(made), strict=True):
        assert all(one is other for one, other in zip(before, group, strict=False))  # hooks and the optimizer hold these
        assert all(tensor.is_contiguous() for tensor in group) and len(group) == 2 + states
        assert not group[0].detach()[group[1] == 0].any()
    again = training(data, optimizer)
    again.restore(seen[1])  # as a checkpoint is: contiguous
    again.run(3)
    assert [row[:6] for row in again.rows] == [row[:6] for row in made.rows]  # without seconds
    for one, other in zip(tensors(made), tensors(again), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_replays_have_the_bits_of_ordinary_steps_in_that_layout(data, monkeypatch):
    monkeypatch.setattr(Precision, "layout", torch.channels_last)
    monkeypatch.setattr(graphs_module, "can_capture", lambda device: True)
    monkeypatch.setattr(graphs_module, "Capture", Recorded)
    monkeypatch.setattr(Recorded, "made", [])
    plain, made = training(data, "adam", "--no-graph"), training(data)
    plain.run(6)
    assert not Recorded.made
    made.run(6)
    assert any(capture.replays > 2 for capture in Recorded.made)
    assert [row[:6] for row in made.rows] == [row[:6] for row in plain.rows]
    for one, other in zip(tensors(made), tensors(plain), strict=True):
        assert all(torch.equal(a, b) and a.is_contiguous() for a, b in zip(one, other, strict=True))


def test_the_layout_is_the_usual_one_after_an_error_and_on_a_cpu(data, monkeypatch):
    made = training(data)
    made.run(1)
    assert not any(made.model.seen)
    monkeypatch.setattr(Precision, "layout", torch.channels_last)
    made = training(data)

    def fail(now):
        assert is_last(now.model.first.weight)
        raise KeyError

    with pytest.raises(KeyError):
        made.run(3, fail)
    assert all(tensor.is_contiguous() for group in tensors(made) for tensor in group)
