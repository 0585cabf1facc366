"""Steps that are captured and replayed compute what ordinary ones do, bit for bit, and leave everything else as it was."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from Models import registry
from Models.masking import add_masks, apply_masks, hold_masks
from tests.graph_stand_in import Recorded
from Utils.compute import graphs as graphs_module
from Utils.compute.graphs import WARM_UP, Graphs
from Utils.training.batch_counts import counting_batches
from Utils.training.loops import test_sums as sums_over
from Utils.training.loops import train_epoch
from Utils.training.optimizers import make_optimizer

CPU = torch.device("cpu")


@pytest.fixture
def stand_in(monkeypatch):
    """Let the CPU capture by the stand-in; return the captures made."""
    monkeypatch.setattr(graphs_module, "can_capture", lambda device: True)
    monkeypatch.setattr(graphs_module, "Capture", Recorded)
    monkeypatch.setattr(Recorded, "made", [])
    return Recorded.made


def batches(count, size=4, last=3, shape=(1, 8, 8)):
    draws = torch.Generator().manual_seed(count)
    sizes = [size] * count + [last]
    return [(torch.randn(n, *shape, generator=draws), torch.randint(3, (n,), generator=draws)) for n in sizes]


class Net(nn.Module):
    """Convolution, BatchNorm and a linear layer, as all networks here have them."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def trained(optimizer, wanted, epochs=3, make=Net, after=None):
    torch.manual_seed(0)
    model = make()
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_(torch.rand(p.mask.shape) < 0.5)
    apply_masks(prunables)
    optim = make_optimizer(model, optimizer, 0.05, 0.01)
    hold_masks(optim, prunables)
    graphs, numbers = Graphs(CPU, model, wanted=wanted), []
    for epoch in range(epochs):
        optim.param_groups[0]["lr"] = 0.05 / (epoch + 1)
        step = (lambda number: after(number, model)) if after else None
        numbers.append(train_epoch(model, optim, batches(6), after_step=step, graphs=graphs).item())
        numbers += sums_over(model, batches(2), graphs=graphs)[0].tolist()
        assert all(not p.weight[p.mask == 0].any() for p in prunables)
    return model, optim, numbers


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_replays_have_the_bits_of_ordinary_steps(stand_in, optimizer):
    model, optim, numbers = trained(optimizer, wanted=True)
    assert len(stand_in) == 4  # steps and tests, each of 4 images and of the last 3
    # Steps: 6 - 3 in the first epoch, then 6 and 6; last ones 2. Tests: 2 an epoch, of which 3 run before; last ones 2.
    assert sorted(capture.replays for capture in stand_in) == [2, 2, 3, 3 * 6 - WARM_UP]
    plain, other, expected = trained(optimizer, wanted=False)
    assert numbers == expected
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    for one, two in zip(other.state_dict()["state"].values(), optim.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(one[key]), torch.as_tensor(two[key])) for key in one)
    assert model.norm.num_batches_tracked == 21


def test_groups_have_their_numbers_again(stand_in):
    _, optim, _ = trained("adam", wanted=True, epochs=1)
    group = optim.param_groups[0]
    assert group["lr"] == 0.05 and isinstance(group["lr"], float) and group["capturable"] is False
    with pytest.raises(KeyError), Graphs(CPU).rates(optim):
        assert isinstance(group["lr"], torch.Tensor) and group["capturable"]
        raise KeyError
    assert group["lr"] == 0.05 and group["capturable"] is False


def test_a_replay_leaves_the_gradients_of_its_batch(stand_in):
    """Masks that move read them after a step, also right after a step of another size."""
    seen, expected = [], []
    trained("momentum", wanted=True, after=lambda step, model: seen.append(model.head.weight.grad.clone()))
    trained("momentum", wanted=False, after=lambda step, model: expected.append(model.head.weight.grad.clone()))
    assert len(seen) == 21 and all(torch.equal(a, b) for a, b in zip(seen, expected, strict=True))


class Reads(Net):
    """Its forward pass reads a number from the device, which a capture forbids."""

    def forward(self, x):
        out = super().forward(x)
        return out * (2 if float(out.sum().detach()) > 1e9 else 1)


def test_what_cannot_be_captured_runs_on_with_a_note(stand_in, capsys):
    model, _, numbers = trained("adam", wanted=True, make=Reads)
    out = capsys.readouterr().out
    assert out.count("NOTE: steps run without a CUDA graph") == 1 and "not permitted when stream is capturing" in out
    assert not stand_in
    plain, _, expected = trained("adam", wanted=False, make=Reads)
    assert numbers == expected and torch.equal(plain.head.weight, model.head.weight)


class Draws(Net):
    """It leaves its head out by chance."""

    def forward(self, x):
        return super().forward(x) * (random.random() < 0.5)


class Counts(Net):
    """It does something else in its second step."""

    step = 0

    def forward(self, x):
        self.step += 1
        return super().forward(x) * min(self.step, 2)


@pytest.mark.parametrize("make", [Draws, Counts])
def test_what_python_decides_is_not_captured(stand_in, capsys, make):
    trained("adam", wanted=True, make=make, epochs=2)
    assert not stand_in and capsys.readouterr().out.count("draws random numbers or counts on the processor") == 1


def test_counters_of_batches():
    """Twice 5 batches; a layer that averages over all batches counts by itself."""
    model = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3, momentum=None), nn.BatchNorm1d(3, track_running_stats=False))
    for _ in range(2):
        with counting_batches(model) as counted:
            assert model[0].num_batches_tracked is None
            for counted.steps in range(1, 6):
                model(torch.randn(4, 3))
    assert model[0].num_batches_tracked == model[1].num_batches_tracked == 10
    with pytest.raises(ValueError), counting_batches(model) as counted:
        counted.steps = 1
        raise ValueError
    assert model[0].num_batches_tracked == 11


def test_on_a_cpu_nothing_is_captured_and_rates_stay_numbers():
    optim = make_optimizer(registry.build("fc", "default", (1, 8, 8), 3), "adam", 0.1, 0.0)
    assert not Graphs(CPU, nn.Linear(1, 1)).active
    with Graphs(CPU).rates(optim):
        assert optim.param_groups[0]["lr"] == 0.1
