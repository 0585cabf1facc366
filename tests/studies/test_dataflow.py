"""Which layers follow each other, in networks of every shape."""

from __future__ import annotations

import pytest
import torch
from conftest import assert_same, snapshot
from torch import nn

from Models import registry
from Utils.studies.wiring import wiring_of


class Net(nn.Module):
    """Three 1x1 convolutions a, b, c of four channels, put together by a function, and a linear layer d on 4x2x2."""

    def __init__(self, compute, **layers):
        super().__init__()
        self.a, self.b, self.c = (layers.get(name, nn.Conv2d(4, 4, 1)) for name in "abc")
        self.d = layers.get("d", nn.Linear(16, 3))
        self.compute = compute

    def forward(self, x):
        return self.compute(self, x)


def pairs(compute, **layers):
    return wiring_of(Net(compute, **layers), (4, 2, 2)).pairs


@pytest.mark.parametrize(("name", "model_class", "shape"), [
    ("fc", "default", (1, 6, 6)), ("conv", "default", (2, 6, 6)), ("vgg11-bn", "lottery", (3, 32, 32)),
    ("alexnet", "lottery", (3, 32, 32)), ("vgg16", "tinyimagenet", (3, 64, 64)),
])  # fmt: skip
def test_plain_networks_are_chains(name, model_class, shape):
    wiring = wiring_of(registry.build(name, model_class, shape, 3), shape)
    assert wiring.is_chain and len(wiring.layers) > 2
    assert list(wiring.pairs) == list(zip(wiring.layers, wiring.layers[1:], strict=False))


def test_of_a_residual_network_the_insides_of_the_blocks_are_pairs():
    wiring = wiring_of(registry.build("resnet20", "lottery", (3, 32, 32), 10), (3, 32, 32))
    assert wiring.pairs == tuple((f"blocks.{i}.conv1", f"blocks.{i}.conv2") for i in range(9))
    assert len(wiring.layers) == 22 and not wiring.is_chain


def test_pooling_flattening_norms_and_work_in_place_do_not_matter():
    norm, relu = nn.BatchNorm2d(4).eval(), nn.ReLU(inplace=True)
    chain = (("a", "b"), ("b", "c"), ("c", "d"))
    assert pairs(lambda m, x: m.d(m.c(norm(relu(m.b(relu(m.a(x)))))).flatten(1))) == chain
    assert pairs(lambda m, x: m.d(m.c(m.b(m.a(x))).mean((2, 3))), d=nn.Linear(4, 3)) == chain
    assert pairs(lambda m, x: m.d(input=m.c(m.b(input=m.a(x))).flatten(1))) == chain


def test_two_consumers_or_two_sources_make_no_pair():
    assert pairs(lambda m, x: m.d((m.b(m.a(x)) + m.c(x)).flatten(1))) == (("a", "b"),)
    assert pairs(lambda m, x: m.d((m.c(m.b(m.a(x)) + x)).flatten(1))) == (("a", "b"), ("c", "d"))
    assert pairs(lambda m, x: (y := m.a(x), m.d((m.b(y) + m.c(y)).flatten(1)))[1]) == ()
    assert pairs(lambda m, x: (y := m.a(x), m.d(m.c(m.b(y)).flatten(1)) + y.sum())[1]) == (("b", "c"), ("c", "d"))


def test_a_layer_that_is_called_twice_makes_no_pair():
    assert pairs(lambda m, x: m.d(m.c(m.a(m.a(m.b(x)))).flatten(1))) == (("c", "d"),)
    assert pairs(lambda m, x: (y := m.a(x), m.a(x), m.d(m.c(y + m.b(x)).flatten(1)))[2]) == (("c", "d"),)


def test_units_that_are_shuffled_mixed_or_detached_make_no_pair():
    assert pairs(lambda m, x: m.d(m.c(m.b(m.a(x).flip(1))).flatten(1))) == (("b", "c"), ("c", "d"))
    assert pairs(lambda m, x: m.d(m.c(m.b(m.a(x))).permute(0, 2, 3, 1).flatten(1))) == (("a", "b"), ("b", "c"))
    assert pairs(lambda m, x: m.d(m.c(m.b(m.a(x).cumsum(1))).flatten(1))) == (("b", "c"), ("c", "d"))
    assert pairs(lambda m, x: m.d(m.c(m.b(m.a(x).detach())).flatten(1))) == (("b", "c"), ("c", "d"))
    norm = nn.LayerNorm(4)
    assert pairs(lambda m, x: m.d(norm(m.c(m.b(m.a(x))).mean((2, 3)))), d=nn.Linear(4, 3)) == (("a", "b"), ("b", "c"))


@pytest.mark.parametrize("train_mode", [False, True])
def test_the_model_is_left_as_it_was(train_mode):
    model = registry.build("vgg11-bn", "lottery", (3, 16, 16), 3)
    model(torch.ones(2, 3, 16, 16)).sum().backward()
    model.train(train_mode)
    before = snapshot(model)
    wiring_of(model, (3, 16, 16))
    assert_same(before, snapshot(model))
