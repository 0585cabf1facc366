"""The laws of conservation, and the studies' numbers worked out by hand."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch
from torch import nn

from Models import registry
from Models.masking import add_masks
from Pruners._shared.loop import Unscorable, prune_loop
from Pruners._shared.problem import Problem
from Pruners.mag import Mag
from Pruners.synflow import SynFlow
from Utils.measure import score_balance
from Utils.studies import conservation
from Utils.studies.wiring import Wiring, wiring_of
from Utils.training.loops import train_epoch


def problem(model, shape=(2,), **kinds):
    return Problem(model, add_masks(model, **kinds), shape)


def synflow(model, shape, **kinds):
    """A problem in eval mode and SynFlow's scores of it in float64."""
    p = problem(model.eval(), shape, **kinds)
    return p, SynFlow.flow(p, torch.float64)[0]


def built(name, model_class, shape):
    """A network of the registry with random weights, all its biases and shifts zero."""
    torch.manual_seed(2)
    model = registry.build(name, model_class, shape, 4)
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if key.endswith("bias"):
                tensor.zero_()
    return model


CHAINS = [("fc", "default", (1, 6, 6)), ("conv", "default", (2, 6, 6)), ("vgg11", "lottery", (3, 16, 16)),
          ("vgg11-bn", "lottery", (3, 16, 16)), ("alexnet", "lottery", (3, 32, 32))]  # fmt: skip


@pytest.mark.parametrize(("name", "model_class", "shape"), CHAINS)
def test_synflow_gives_every_layer_and_unit_of_a_chain_its_share(name, model_class, shape):
    model = built(name, model_class, shape)
    p = problem(model.eval(), shape)
    scores = SynFlow().score(p)
    table = conservation.layer_table(p.prunables, scores)
    assert conservation.largest_deviation(table["score_sum"]) < 1e-3
    assert score_balance.fit(table)[0] == pytest.approx(-1, abs=1e-3)
    units = conservation.unit_table(wiring_of(model, shape).pairs, p.prunables, scores)
    assert units["layer_in"].nunique() == len(table) - 1
    assert len(units) == sum(q.weight.shape[0] for q in p.prunables[:-1])
    assert score_balance.relative_difference(units).max() < 1e-3


@pytest.mark.parametrize("name", ["resnet20", "wide-resnet20"])
def test_synflow_is_the_same_over_every_cut_of_a_residual_network(name):
    model = built(name, "lottery", (3, 16, 16))
    p, scores = synflow(model, (3, 16, 16), residual=True, batchnorm=True)
    sums = conservation.layer_table(p.prunables, scores).set_index("module")["score_sum"]
    whole = sums["fc"]
    assert sums["conv"] == pytest.approx(whole, rel=1e-9) and sums["bn"] == pytest.approx(whole, rel=1e-9)
    for block in range(9):
        shortcut = f"blocks.{block}.shortcut"
        beside = sums[shortcut] if shortcut in sums else sums[f"{shortcut}.0"]
        assert 0 < beside < whole
        for layer in ("conv1", "bn1", "conv2", "bn2"):
            assert sums[f"blocks.{block}.{layer}"] + beside == pytest.approx(whole, rel=1e-9)


def test_biases_let_flow_in_and_their_scores_account_for_it():
    torch.manual_seed(2)
    model = registry.build("fc", "default", (1, 6, 6), 4)
    pairs = wiring_of(model, (1, 6, 6)).pairs
    differences = {}
    for bias in (False, True):
        p, scores = synflow(model, (1, 6, 6), bias=bias)
        table = conservation.unit_table(pairs, p.prunables, scores)
        differences[bias] = score_balance.relative_difference(table).max()
    assert differences[False] > 1e-3 and differences[True] < 1e-9
    assert conservation.open_ends(model) == 6
    assert conservation.why_not_conserved(model, wiring_of(model, (1, 6, 6))).startswith("6 biases or shifts are not zero")
    plain = built("fc", "default", (1, 6, 6))
    assert "not homogeneous" in conservation.why_not_conserved(plain, None)
    assert "no simple chain" in conservation.why_not_conserved(plain, Wiring(("a", "b"), ()))


def test_layers_by_hand(linear_net):
    """Scores [[5,10],[39,52]] and [[15,42],[0,49]]: both add up to 106 over 4 elements."""
    p, scores = synflow(linear_net, (2,))
    table = conservation.layer_table(p.prunables, scores)
    assert table.to_dict("list") == {"module": ["0", "1"], "size": [4, 4], "inverse_size": [0.25, 0.25],
                                     "score_sum": [106, 106], "average_score": [26.5, 26.5]}  # fmt: skip
    assert conservation.largest_deviation([1.0, 3.0]) == 0.5 and math.isnan(conservation.largest_deviation([1.0, -1.0]))
    assert math.isnan(score_balance.fit(table)[0])


def test_a_bias_counts_where_it_has_scores():
    net = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1, bias=False))
    p = problem(net, (3,), bias=True)
    ones = [torch.ones_like(w) for w in p.weights()]
    assert conservation.layer_table(p.prunables, ones)[["size", "score_sum"]].to_numpy().tolist() == [[8, 8], [2, 2]]
    assert conservation.unit_table([("0", "1")], p.prunables, ones)["in_score"].tolist() == [4, 4]
    without = [q for q in p.prunables if q.param == "weight"]
    assert conservation.layer_table(without, [ones[0], ones[2]])["size"].tolist() == [6, 2]
    assert conservation.unit_table([("0", "1")], without[:1], ones[:1]).empty


def test_squares_by_hand():
    net = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        for tensor, values in zip(net.parameters(), ([[1.0, -2.0]], [2.0], [[3.0]]), strict=True):
            tensor.copy_(torch.tensor(values))
    table = conservation.square_table(net)
    assert table["size"].tolist() == [3, 1] and table["average_score"].tolist() == [3, 9]
    assert score_balance.fit(table)[0] == pytest.approx(-1)  # both add up to 9


def test_the_slope_is_fitted_to_the_layers_that_have_one():
    table = pd.DataFrame({"size": [10, 100, 1000, 50], "average_score": [0.7, 0.07, 0.007, 0.0]})
    slope, intercept = score_balance.fit(table)
    assert slope == pytest.approx(-1) and 10**intercept == pytest.approx(7)
    assert all(math.isnan(v) for v in score_balance.fit(table[3:]))


def test_units_by_hand(linear_net):
    p, scores = synflow(linear_net, (2,))
    table = conservation.unit_table([("0", "1")], p.prunables, scores)
    assert table["in_score"].tolist() == table["out_score"].tolist() == [15, 91] and table["unit"].tolist() == [0, 1]
    table = conservation.unit_table([("0", "1")], p.prunables, Mag().score(p))  # [[1,2],[3,4]], [[5,6],[0,7]]
    assert table["in_score"].tolist() == [3, 7] and table["out_score"].tolist() == [5, 13]
    assert score_balance.relative_difference(table).tolist() == [2 / 5, 6 / 13]
    signs = pd.DataFrame({"in_score": [1.0, 0.0, 0.0], "out_score": [-1.0, 0.0, 3.0]})
    assert score_balance.relative_difference(signs).tolist() == [2, 0, 1]


def test_a_channel_feeds_all_its_places_and_only_its_group():
    grouped = nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)
    net = nn.Sequential(nn.Conv2d(1, 4, 1, bias=False), grouped, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 2, bias=False))
    p, scores = synflow(net, (1, 4, 4))
    table = conservation.unit_table(wiring_of(net, (1, 4, 4)).pairs, p.prunables, scores)
    assert len(table) == 10 and score_balance.relative_difference(table).max() < 1e-9
    by_hand = [float(scores[1][3 * (u // 2) : 3 * (u // 2) + 3, u % 2].sum()) for u in range(4)]
    assert table["out_score"][:4].tolist() == pytest.approx(by_hand)


def test_rounds_by_hand(linear_net):
    """R = 106. At once the four smallest of 0, 5, 10, 15, ... go: 30. In two rounds 0 and 5, then 10 and 10 of R = 101."""
    p = problem(linear_net)
    once = conservation.schedule_rounds(p, 0.5, 1, "linear")
    assert once.to_numpy().tolist() == [[1, 30, 106, 30 / 106]]
    twice = conservation.schedule_rounds(p, 0.5, 2, "linear")
    assert twice["removed_score"].tolist() == [5, 20] and twice["max_flow"].tolist() == [106, 101]
    assert twice["ratio"].tolist() == [5 / 106, 20 / 101] and sum(int(m.sum()) for m in p.masks) == 4
    with torch.no_grad():
        linear_net[0].weight.zero_()
    with pytest.raises(Unscorable, match="scores of all layers are zero"):
        conservation.schedule_rounds(p, 0.5, 2, "linear")


@pytest.mark.parametrize("schedule", ["linear", "exponential"])
def test_the_rounds_are_those_of_the_pruner_itself(schedule):
    torch.manual_seed(0)
    model = registry.build("vgg11-bn", "lottery", (3, 16, 16), 4)
    masks = {}
    for watched in (False, True):
        p = problem(model, (3, 16, 16))
        for mask in p.masks:
            mask.fill_(1)
        if watched:
            table = conservation.schedule_rounds(p, 0.05, 4, schedule)
        else:
            prune_loop(p, SynFlow(), 0.05, rounds=4, schedule=schedule)
        masks[watched] = [m.clone() for m in p.masks]
    assert all(torch.equal(a, b) for a, b in zip(masks[False], masks[True], strict=True))
    assert table["max_flow"].is_monotonic_decreasing and table["ratio"].iloc[-1] > 0 and (table["ratio"] >= 0).all()


def test_small_steps_of_gradient_descent_add_the_same_square_to_every_layer():
    """Section 5: d|W|^2/dt is the same for all layers of homogeneous activations, whatever their size."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(5, 40, bias=False), nn.ReLU(), nn.Linear(40, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)
    )
    images, labels = torch.randn(30, 5).double(), torch.arange(30) % 3
    net.double()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)
    before = conservation.square_table(net)
    for _ in range(20):
        train_epoch(net, optimizer, [(images, labels)])
    grown = (conservation.square_table(net)["score_sum"] - before["score_sum"]).to_numpy()
    assert grown[1:] == pytest.approx(grown[0], rel=1e-2) and abs(grown[0]) > 1e-5
