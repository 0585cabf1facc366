"""The order of execution: the classifier and the first layer are those of the computation, not of the declaration."""

from __future__ import annotations

import pytest
import torch
from conftest import assert_same, snapshot
from torch import nn
from torch.nn import functional as F

from Models import registry
from Models.execution import parameter_uses
from Models.masking import add_masks
from Pruners._shared.distributions import Layer, UniformPlus, ends
from Pruners._shared.scopes import layers_of

SHAPE = (1, 4, 4)


class Backwards(nn.Module):
    """Declared last to first, with an auxiliary head that nothing uses and one whose result is dropped."""

    def __init__(self):
        super().__init__()
        self.head, self.body, self.stem = nn.Linear(8, 3), nn.Conv2d(4, 8, 3), nn.Conv2d(1, 4, 3, padding=1)
        self.norm, self.unused, self.dropped = nn.BatchNorm2d(4), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x):
        x = self.body(F.relu(self.norm(self.stem(x.to(self.head.weight.dtype))))).mean((2, 3))
        out = self.head(x)
        self.dropped(x)
        return out


class Frozen(Backwards):
    """Its body works without gradients, and its head on detached values."""

    def forward(self, x):
        with torch.no_grad():
            x = self.body(self.norm(self.stem(x)))
        return F.linear(x.detach().mean((2, 3)), self.head.weight, self.head.bias)


@pytest.mark.parametrize("make", [Backwards, Frozen])
def test_the_classifier_is_the_last_layer_that_works(make):
    net = make()
    uses = parameter_uses(net, SHAPE)
    weights = sorted((name for name in uses if name.endswith("weight")), key=lambda name: uses[name])
    assert weights == ["stem.weight", "norm.weight", "body.weight", "head.weight"]
    prunables = add_masks(net, dense_classifier=True, bias=True, input_shape=SHAPE)
    assert {p.module_name for p in prunables} == {"body", "stem", "unused", "dropped"}
    layers = layers_of(add_masks(net, input_shape=SHAPE))
    assert [layers[i].name for i in ends(layers)] == ["stem.weight", "head.weight"]


def test_uniform_plus_goes_by_execution():
    """The convolution (36) stays and the head (24) keeps a fifth: 5. The body and the two idle layers share the rest."""
    layers = layers_of(add_masks(Backwards(), input_shape=SHAPE))
    assert [layer.size for layer in layers] == [24, 288, 36, 24, 24]
    assert UniformPlus().budgets(layers, 41 + 28) == [5, 24, 36, 2, 2]
    assert ends([Layer("a", (2, 2), 4, True), Layer("b", (2,), 2, False), Layer("c", (2, 2), 4, True)]) == (0, 2)
    assert ends([Layer("b", (2,), 2, False)]) is None


def test_a_shared_classifier_and_one_that_is_called_last():
    first, second = nn.Linear(16, 16), nn.Linear(16, 16)
    second.weight = first.weight
    net = nn.Sequential(nn.Flatten(), first, nn.Linear(16, 16), second)
    assert [p.name for p in add_masks(net, dense_classifier=True, input_shape=SHAPE)] == ["2.weight"]


def test_a_trace_changes_nothing_and_a_network_that_hides_its_functions_has_no_order():
    net = Backwards().train()
    net.stem.weight.requires_grad = False
    net.body.register_forward_hook(lambda *_: None)
    before = snapshot(net)
    parameter_uses(net, SHAPE)
    assert_same(before, snapshot(net))
    assert not net.stem.weight.requires_grad and net.stem.weight.grad is None
    assert parameter_uses(net, (3, 4, 4)) == {}  # a wrong shape
    prunables = add_masks(net, dense_classifier=True, input_shape=(3, 4, 4))
    assert [p.module_name for p in prunables] == ["head", "body", "stem", "unused"]


def test_a_network_that_cannot_run_without_values():
    class Kept(Backwards):
        def __init__(self):
            super().__init__()
            self.scale = [torch.ones(1)]  # no buffer

        def forward(self, x):
            return super().forward(x * self.scale[0])

    uses = parameter_uses(Kept(), SHAPE)
    assert min(uses, key=lambda n: uses[n][0]).startswith("stem") and max(uses, key=lambda n: uses[n][1]).startswith("head")


@pytest.mark.parametrize(("name", "model_class"), [("fc", "default"), ("vgg11-bn", "lottery"), ("resnet20", "lottery"), ("alexnet", "lottery"),
                                                   ("resnet18", "tinyimagenet"), ("wide-resnet50", "imagenet")])  # fmt: skip
def test_registered_networks_are_declared_in_their_order(name, model_class):
    """Their first and last layers are therefore those of earlier versions, and so are their masks."""
    shape = registry.NATURAL[model_class][0]
    with torch.device("meta"):
        net = registry.factory(name, model_class)(shape, 10)
    uses = parameter_uses(net, shape)
    weights = [f"{n}.weight" for n, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert set(weights) <= set(uses)
    assert min(weights, key=lambda n: uses[n][0]) == weights[0] and max(weights, key=lambda n: uses[n][1]) == weights[-1]
