"""Effective weights by hand: attention, gates, values that move, what no rule knows, and weights that are not used."""

from __future__ import annotations

import pytest
import torch
from function_networks import IMAGE, Lambda, Net, rows
from torch import nn
from torch.nn import functional as F

from Models.effective import find_paths
from Models.masking import Prunable, add_masks
from Models.reach import has_path
from Utils.measure.counting import compression_table, effective_density, uncounted, unused


def live_of(model, shape, **masks):
    prunables = add_masks(model)
    for p in prunables:
        if p.module_name.split(".")[-1] in masks:
            p.mask.copy_(torch.tensor(masks[p.module_name.split(".")[-1]], dtype=torch.float32).view(p.mask.shape))
    return {n: t.int().tolist() for n, t in find_paths(model, prunables, shape).live.items()}


def test_attention_by_hand():
    """Two channels of values; the head listens to the second alone, whose query and key decide at all places."""
    layers = {"q": nn.Linear(1, 2), "k": nn.Linear(1, 2), "v": nn.Linear(1, 2), "head": nn.Linear(2, 1)}
    net = Net(lambda n, x: n["head"](F.scaled_dot_product_attention(*(n[m](x)[:, None] for m in "qkv"))[:, 0, 0]), **layers)
    found = live_of(net, (3, 1), head=[[0, 1]])
    assert [found[f"layers.{m}.weight"] for m in "qkv"] == [[[1], [1]], [[1], [1]], [[0], [1]]]
    found = live_of(net, (3, 1), head=[[0, 1]], v=[[1], [0]])  # the average of constants is no path
    assert [found[f"layers.{m}.weight"] for m in "qkv"] == [[[1], [1]], [[1], [1]], [[0], [0]]]  # the weights may move its bias
    found = live_of(net, (3, 1), head=[[1, 1]], v=[[1], [0]], q=[[0], [1]])
    assert [found[f"layers.{m}.weight"] for m in "qkv"] == [[[0], [1]], [[1], [1]], [[1], [0]]] and found[
        "layers.head.weight"
    ] == [[1, 0]]


def test_a_gate_is_a_path_where_no_other_is_left():
    """What it multiplies may be a constant, as here a bias: the network is not constant."""
    net = Net(
        lambda n, x: n["out"](n["a"](x) * n["gate"](x).sigmoid()), a=nn.Linear(2, 2), gate=nn.Linear(2, 2), out=nn.Linear(2, 1)
    )
    prunables = add_masks(net)
    prunables[0].mask.zero_()
    prunables[1].mask.copy_(torch.tensor([[1.0, 0], [0, 0]]))
    assert has_path(net, prunables, (2,))
    live = find_paths(net, prunables, (2,)).live
    assert live["layers.gate.weight"].int().tolist() == [[1, 0], [0, 0]] and live["layers.out.weight"].int().tolist() == [[1, 0]]
    assert not torch.equal(net(torch.ones(1, 2)), net(-torch.ones(1, 2)))


@pytest.mark.parametrize("function", [
    lambda x: x[:, [2, 1, 0]], lambda x: x.roll(1, 1), lambda x: F.pad(x, (1, 0)), lambda x: x.cumsum(1), lambda x: x.split([2, 1], 1)[1],
    lambda x: torch.stack([x, -x], 2).flatten(1), lambda x: x.flip(1).unbind(1)[1][:, None], lambda x: x.T.clone().T.add_(1).mul_(2),
    lambda x: torch.zeros_like(x).index_copy(1, torch.tensor([1, 2, 0]), x), lambda x: torch.where(x > 0, x, 0),
    lambda x: x.unsqueeze(2).expand(-1, -1, 2).reshape(-1, 6), lambda x: x.detach().tanh_(), lambda x: x.masked_fill(x > 9, 0),
    lambda x: torch.cat([x.chunk(3, 1)[i] for i in (1, 0, 2)], 1), lambda x: x.double().float(), lambda x: x.view(-1, 1, 3).max(1)[0],
    lambda x: x.scatter(1, torch.zeros(len(x), 1, dtype=torch.long), x[:, 1:2]), lambda x: x.unsqueeze_(1).squeeze_(1)[:, 1:],
])  # fmt: skip
def test_places_are_followed_as_values_move(function):
    """One layer of three units; the next listens to the function's first result alone, which one of them moves."""
    model = nn.Sequential(nn.Linear(1, 3), Lambda(lambda x: function(x)[:, :1]), nn.Linear(1, 1))
    moved = function(torch.eye(3).mul(7))[:, 0] != function(torch.zeros(3, 3))[:, 0]
    assert [row[0] for row in live_of(model, (1,))["0.weight"]] == moved.int().tolist()


def test_writing_in_place_through_views():
    def written(x):
        y = torch.zeros_like(x)
        y[:, 1:] = x[:, :-1]
        parts = y.chunk(3, 1)
        parts[2].mul_(2)
        y[:, 0] = 1
        return y

    found = live_of(nn.Sequential(nn.Linear(1, 3), Lambda(written), nn.Linear(3, 1)), (1,))
    assert found["0.weight"] == [[1], [1], [0]] and found["2.weight"] == [[0, 1, 1]]


def mystery(x):
    return torch.linalg.matrix_exp(x[:, :, None] * x[:, None]).sum(2)


def test_what_no_rule_knows_passes_everything_on():
    model = nn.Sequential(nn.Linear(1, 3), Lambda(mystery), nn.Linear(3, 2))
    found = live_of(model, (1,), **{"0": [[0], [1], [0]], "2": [[1, 0, 0], [0, 0, 0]]})
    assert found["0.weight"] == [[0], [1], [0]] and found["2.weight"] == [[1, 0, 0], [0, 0, 0]]
    assert live_of(model, (1,), **{"0": [[0], [0], [0]]})["2.weight"] == [[0, 0, 0], [0, 0, 0]]


def test_a_network_that_cannot_run_keeps_all_its_weights():
    class Broken(nn.Linear):
        def forward(self, x):
            raise RuntimeError("no")

    model = Broken(2, 1)
    prunables = add_masks(model)
    prunables[0].mask[0, 0] = 0
    assert find_paths(model, prunables, (2,)).live["weight"].tolist() == [[False, True]] and has_path(model, prunables, (2,))


@pytest.mark.parametrize(
    "leave", [lambda x: x.item(), lambda x: x.tolist(), lambda x: x.numpy().sum(), lambda x: 1.0 if x else 0.0]
)
def test_numbers_that_leave_torch_keep_all_weights(leave):
    model = nn.Sequential(nn.Linear(1, 2), Lambda(lambda x: torch.ones(1, 2) * leave(x.sum())), nn.Linear(2, 1))
    assert live_of(model, (1,), **{"2": [[1, 0]]})["0.weight"] == [[1], [1]]
    closed = live_of(model, (1,), **{"0": [[0], [0]]})
    assert closed["0.weight"] == [[0], [0]] and closed["2.weight"] == [[0, 0]]


def test_any_parameter_can_be_masked():
    """Weights of recurrent layers and of attention's inputs, which are kept as far as their masks do."""
    layers = {
        "rnn": nn.GRU(8, 4, batch_first=True),
        "mha": nn.MultiheadAttention(4, 2, batch_first=True),
        "head": nn.Linear(4, 3),
    }
    net = Net(lambda n, x: n["head"](n["mha"](*[n["rnn"](rows(x))[0]] * 3)[0].mean(1)), **layers)
    prunables = []
    for module, name, param in (("rnn", "layers.rnn", "weight_ih_l0"), ("mha", "layers.mha", "in_proj_weight")):
        tensor = getattr(layers[module], param)
        layers[module].register_buffer(f"{param}_mask", torch.ones_like(tensor))
        prunables.append(Prunable(layers[module], name, param))
    assert all(find_paths(net, prunables, IMAGE).live[p.name].all() for p in prunables)
    prunables[0].mask[:, 1:] = 0
    prunables[1].mask[0] = 0  # the first query
    live = find_paths(net, prunables, IMAGE).live
    assert all(torch.equal(live[p.name], p.mask != 0) for p in prunables) and has_path(net, prunables, IMAGE)
    prunables[0].mask.zero_()
    assert not has_path(net, prunables, IMAGE) and not any(
        find_paths(net, prunables, IMAGE).live[p.name].any() for p in prunables
    )


def test_weights_that_evaluation_does_not_use_are_named_and_not_counted():
    net = Net(lambda n, x: n["b"](n["a"](x.flatten(1)).relu()), a=nn.Linear(64, 16), b=nn.Linear(16, 3), aux=nn.Linear(16, 3))
    prunables = add_masks(net)
    table = compression_table(net, prunables, [p.mask for p in prunables], IMAGE)
    assert effective_density(table) == 1 and unused(table) == {"layers.aux": 48} and uncounted(table) == []
    assert find_paths(net, prunables, IMAGE).unused == {"layers.aux.weight", "layers.aux.bias"}
    prunables[0].mask[:8] = 0
    table = compression_table(net, prunables, [p.mask for p in prunables], IMAGE)
    assert effective_density(table) == (8 * 64 + 8 * 3) / (16 * 64 + 16 * 3)
