"""Networks and weights from files of the user's."""

import copy
import os
import pickle
import sys

import pytest
import torch
from malicious import Malicious
from trees import message as refused

from Models.registry import build
from Models.weights import load_weights
from Utils.base.errors import Refused

CIFAR, MNIST, TINY = (3, 32, 32), (1, 28, 28), (3, 64, 64)


# A user's own file.

USER = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn
import neighbour_of_net

@dataclass
class Config:
    width: int = neighbour_of_net.WIDTH

class Net(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.scale = torch.ones(1)  # no buffer: it stays where it is
        self.table = None
        lazy = nn.LazyLinear(Config().width) if shape[0] == 1 else nn.Linear(3072, 4)
        self.layer = nn.Sequential(nn.Flatten(), lazy, nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, classes))

    def forward(self, x):
        if self.table is None:
            self.table = x.new_zeros(1)
        return self.layer(x * self.scale) + self.table

def flat(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(5, classes))
def wrong_classes(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(784, classes + 1))
def pair(shape, classes): return nn.LSTM(28, classes)
def nothing(shape, classes): return None
def empty(shape, classes): return nn.Sequential(nn.Flatten())
def raises(shape, classes): raise KeyError("first\\nsecond")
def leaves(shape, classes): raise SystemExit(3)
def no_arguments(): return None
NUMBER, made = 3, nn.Linear(3, 3)
"""


@pytest.fixture
def user_file(tmp_path):
    (tmp_path / "neighbour_of_net.py").write_text("WIDTH = 4\n")
    (tmp_path / "broken.py").write_text("x = 1\ny = = 2\n")
    (tmp_path / "torch.py").write_text(USER)
    return tmp_path / "torch.py"


def test_user_network(user_file):
    path = list(sys.path)
    assert build(f"{user_file}:Net", "user", MNIST, 10).layer[1].weight.shape == (4, 784)  # the lazy layer has its size
    model = build(f"{user_file}:Net", "user", CIFAR, 10)
    assert model.table is None
    assert model.training
    assert sys.path == path
    assert sys.modules["torch"] is torch
    image = torch.randn(2, *CIFAR)
    twin = copy.deepcopy(model).eval()
    assert torch.equal(twin(image), model.eval()(image))
    assert type(pickle.loads(pickle.dumps(model))) is type(model)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("missing", "no function missing; its functions: Config, Net, empty, flat, leaves, no_arguments, nothing"),
        ("NUMBER", "no function NUMBER"),
        ("made", r"is a network itself: name a function \(input_shape, num_classes\)"),
        ("", "no function"),
        ("flat", "images of 1x28x28: .*784"),
        ("wrong_classes", r"\[1, 11\], not into \[1, 10\]"),
        ("pair", "cannot take images of 1x28x28: LSTM"),
        ("nothing", "NoneType, not a torch.nn.Module"),
        ("empty", "without any layer whose weights"),
        ("raises", r"\(line 30\): KeyError: .*first"),
        ("leaves", "SystemExit: 3"),
        ("no_arguments", "TypeError: .*0 positional arguments"),
    ],
)
def test_user_network_refused(user_file, function, words):
    with pytest.raises(Refused, match=words) as capture:
        build(f"{user_file}:{function}", "user", MNIST, 10)
    assert f"{user_file}:{function}" in refused(capture)


RELATIVE = """
from dataclasses import dataclass
import torch
from torch import nn
def named(shape, classes):
    from .blocks import Block, Other as O
def alone(shape, classes):
    from . import blocks
def above(shape, classes):
    from ..common.blocks import Block
def neighbour(shape, classes):
    import asks
def body(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.ReLU())
def spread(shape, classes): return nn.DataParallel(nn.Sequential(body(), nn.Linear(5, classes)))
def inside(shape, classes): return nn.Sequential(nn.DataParallel(body()), nn.DataParallel(nn.DataParallel(nn.Linear(5, classes))))
def two(shape, classes): return Returns(lambda y: (y, y))
def named_outputs(shape, classes): return Returns(lambda y: {"features": y[:, :2], "logits": y})
@dataclass
class Output:
    features: torch.Tensor
    logits: torch.Tensor
def in_fields(shape, classes): return Returns(lambda y: Output(y[:, :2], y))
def listed(shape, classes): return Returns(lambda y: [y.sum(), y])
def map_left(shape, classes): return Returns(lambda y: y[:, :, None, None])
def squeezed(shape, classes): return Returns(lambda y: y.squeeze())
class Returns(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.layer, self.make = nn.Linear(784, 10), make
    def forward(self, x): return self.make(self.layer(x.flatten(1)))
"""


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("named", r"\(line 6\): `from .blocks import Block, Other as O` is .*: write `from blocks import Block, Other as O`$"),
        ("alone", "write `import blocks`$"),
        ("above", r"write `from common.blocks import Block`, and start the program with PYTHONPATH=\S+$"),
        (
            "neighbour",
            r"\(line 12\): `from .blocks import Block` in \S+asks.py, line 1, is .*: write `from blocks import Block`$",
        ),
        ("two", r"into a tuple \(\[1, 10\], \[1, 10\]\), not into \[1, 10\]: let its forward return only output\[0\]$"),
        ("named_outputs", r"a dict \(features \[1, 2\], logits \[1, 10\]\), .*: let its forward return only output\['logits'\]$"),
        ("in_fields", r"a Output \(features \[1, 2\], logits \[1, 10\]\), .*: let its forward return only output.logits$"),
        ("listed", r"a list \(\[\], \[1, 10\]\), .* return only output\[1\]$"),
        ("map_left", r"\[1, 10, 1, 1\], not into \[1, 10\]: let its forward return output.flatten\(1\)$"),
        ("squeezed", r"into \[10\], not into \[1, 10\]: .* squeeze\(\)"),
    ],
)
def test_the_users_words_and_what_to_write_instead(tmp_path, function, words):
    (tmp_path / "net.py").write_text(RELATIVE)
    (tmp_path / "asks.py").write_text("from .blocks import Block\n")
    with pytest.raises(Refused, match=words) as capture:
        build(f"{tmp_path}/net.py:{function}", "user", MNIST, 10)
    refused(capture)


@pytest.mark.parametrize(("function", "names"), [("spread", ["0.1", "1"]), ("inside", ["0.1", "1"])])
def test_wrappers_for_several_devices_are_taken_off(tmp_path, function, names):
    (tmp_path / "net.py").write_text(RELATIVE)
    model = build(f"{tmp_path}/net.py:{function}", "user", MNIST, 10)
    assert [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)] == names


def test_user_file_refused(user_file):
    with pytest.raises(Refused, match=r"there is no file .*none\.py"):
        build(f"{user_file.parent}/none.py:f", "user", MNIST, 10)
    with pytest.raises(Refused, match=r"\(line 2\): SyntaxError"):
        build(f"{user_file.parent}/broken.py:f", "user", MNIST, 10)
    (user_file.parent / "neighbour_of_net.py").unlink()
    sys.modules.pop("neighbour_of_net", None)
    with pytest.raises(Refused, match=r"\(line 6\): ModuleNotFoundError"):
        build(f"{user_file}:Net", "user", MNIST, 10)


# Weights from a file.


def small(seed=0):
    torch.manual_seed(seed)
    return build("resnet20", "lottery", CIFAR, 10)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_loaded(tmp_path, wrap, prefix):
    source, model = small(1), small(2)
    source.bn.running_mean += 5
    torch.save(wrap({prefix + key: value for key, value in source.state_dict().items()}), tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in source.state_dict().items())


def test_masks_in_a_checkpoint(tmp_path):
    source, model = small(1), small(2)
    state = source.state_dict()
    masks = {f"{key}_mask": torch.ones_like(value) for key, value in state.items() if key.endswith((".weight", ".bias"))}
    masks["fc.weight_mask"][0] = 0
    torch.save(state | masks, tmp_path / "w.pt")
    model.fc.register_buffer("weight_mask", torch.full((10, 64), 2.0))
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.conv.weight, source.conv.weight)
    assert torch.equal(model.fc.weight[1:], source.fc.weight[1:])
    assert not model.fc.weight[0].any()
    assert (model.fc.weight_mask == 2).all()


def test_a_malicious_file_is_refused_and_not_run(tmp_path):
    file, target = tmp_path / "w.pt", tmp_path / "run"
    for legacy in (False, True):
        torch.save({"fc.weight": Malicious(os.mkdir, str(target))}, file, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(Refused, match=r"w\.pt") as capture:
            load_weights(small(), file)
        refused(capture)
        assert not target.exists()
    torch.load(file, weights_only=False)
    assert target.exists()  # so there was something to run


def spoil(kind, state, file):
    """Write a file that cannot be loaded into a ResNet-20, and return the words that its refusal has."""
    if kind == "missing":
        torch.save({key: value for key, value in state.items() if "blocks" not in key}, file)
        return ["lacks blocks.0.conv1.weight", "more"]
    if kind == "unexpected":
        torch.save(state | {"extra.weight": torch.ones(1)}, file)
        return ["unknown extra.weight"]
    if kind == "shape":
        torch.save(state | {"fc.bias": torch.ones(7)}, file)
        return ["fc.bias [7] instead of [10]"]
    torch.save(state | {"fc.bias_mask": torch.ones(7)}, file)
    return ["fc.bias_mask", "[7]"]


@pytest.mark.parametrize("kind", ["missing", "unexpected", "shape", "mask"])
def test_unfit_weights_are_refused_and_change_nothing(tmp_path, kind):
    file, model = tmp_path / "w.pt", small(2)
    before = copy.deepcopy(model.state_dict())
    words = spoil(kind, small(1).state_dict(), file)
    with pytest.raises(Refused) as capture:
        load_weights(model, file)
    message = refused(capture)
    assert [word for word in [*words, str(file)] if word not in message] == []
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
