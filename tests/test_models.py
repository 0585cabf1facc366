"""Networks: the ancestor's initial weights, names and refusals, users' files, weights from files."""

import copy
import json
import os
import pickle
import socket
import subprocess
import sys
import urllib.error
from pathlib import Path

import pytest
import torch
from torch import nn

from Models import lottery_resnet, tinyimagenet_resnet, torchvision_models
from Models.layers import Identity2d
from Models.registry import CLASSES, NATURAL, build, check_shape, describe, factory, resolve
from Models.weights import load_weights
from Utils.errors import Refused

GOLDEN = json.loads((Path(__file__).parent / "golden/initial_weights.json").read_text())
TRAIN_SIZES = {"default": 60000, "lottery": 50000, "tinyimagenet": 100000, "imagenet": 1281167}
ALL = [(model_class, name) for model_class, table in CLASSES.items() for name in table]
SMALL = [pair for pair in ALL if "1202" not in pair[1]]
CIFAR, MNIST, TINY = (3, 32, 32), (1, 28, 28), (3, 64, 64)


def on_meta(name, model_class, input_shape, num_classes):
    """A network without memory: only its shapes are looked at."""
    with torch.device("meta"):
        return factory(name, model_class)(input_shape, num_classes)


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def refused(capture):
    """The message of a refusal, which is one line."""
    text = str(capture.value)
    assert text
    assert "\n" not in text
    return text


# The ancestor's initial weights: per tensor [shape, sum, sum of magnitudes, sum of every seventh entry].


@pytest.mark.parametrize("key", GOLDEN)
def test_same_seed_same_weights_as_the_ancestor(key):
    model_class, name, *dense = key.split()
    input_shape, num_classes = NATURAL[model_class]
    torch.manual_seed(1)
    torch.randperm(TRAIN_SIZES[model_class])[: 10 * num_classes]
    model = build(name, model_class, input_shape, num_classes, dense_classifier=bool(dense))
    ours = dict(model.named_parameters())
    assert list(ours) == list(GOLDEN[key])
    for param, (shape, *sums) in GOLDEN[key].items():
        value = ours[param].detach()
        assert list(value.shape) == shape, param
        got = [part.sum(dtype=torch.float64).item() for part in (value, value.abs(), value.flatten()[::7])]
        assert got == pytest.approx(sums, rel=1e-6, abs=1e-6 * sums[1]), param


def test_dense_classifier_shifts_the_draws_only_where_the_ancestor_builds_twice():
    keys = ("lottery vgg16", "lottery resnet20", "tinyimagenet resnet18", "tinyimagenet vgg16-bn", "default fc")
    assert [GOLDEN[key] != GOLDEN[f"{key} dense"] for key in keys] == [True, True, True, False, False]


# Every registered network.


@pytest.mark.parametrize(("model_class", "name"), ALL)
def test_every_entry_names_a_factory(model_class, name):
    assert callable(factory(name, model_class))


@pytest.mark.parametrize(("model_class", "name"), SMALL)
def test_every_network_honours_classes_and_shape(model_class, name):
    (channels, height, width), _ = NATURAL[model_class]
    for shape in ((channels, height, width), (4 - channels, height + 32, width)):
        check_shape(on_meta(name, model_class, shape, 7), shape, 7, name)


@pytest.mark.parametrize(("model_class", "name"), [("default", "fc"), ("default", "conv"), ("lottery", "alexnet")])
@pytest.mark.parametrize("shape", [MNIST, CIFAR, (2, 48, 20)])
def test_small_networks_run(model_class, name, shape):
    model = build(name, model_class, shape, 7)
    assert model(torch.randn(2, *shape)).shape == (2, 7)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_describe_counts_parameters_without_drawing():
    state = torch.get_rng_state()
    rows = {(model_class, name): count for model_class, name, count in describe()}
    assert torch.equal(torch.get_rng_state(), state)
    assert list(rows) == ALL
    assert rows["default", "fc"] == 784 * 100 + 100 + 4 * (100 * 100 + 100) + 1010
    assert rows["lottery", "alexnet"] == 2_261_834
    assert rows["lottery", "resnet20"] == 272_714  # with 240 fixed multipliers of Identity2d
    assert rows["tinyimagenet", "resnet18"] == 11_272_456
    assert rows["imagenet", "resnet50"] == 25_557_032
    assert rows["lottery", "wide-resnet1202"] == 77_558_890


def test_alexnet_weights():
    model = on_meta("alexnet", "lottery", CIFAR, 10)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert list(layers) == ["features.0", "features.3", "features.6", "features.8", "features.10", "classifier.1"]
    assert sum(m.weight.numel() for m in layers.values()) == 2_260_672


# Defects of the ancestor.


@pytest.mark.parametrize(("depth", "count"), [(18, 22_261_768), (34, 42_476_232)])
def test_wide_basic_blocks_are_wide_inside(depth, count):
    plain, wide = (on_meta(f"{w}resnet{depth}", "tinyimagenet", TINY, 200) for w in ("", "wide-"))
    inside, outside = (dict(m.named_parameters())["conv3_x.0.residual_function.0.weight"].shape[0] for m in (wide, plain))
    assert (inside, outside) == (256, 128)
    assert wide.fc.weight.shape == plain.fc.weight.shape
    assert parameters(wide) == count
    assert parameters(plain) < count


def test_imagenet_networks_keep_num_classes_and_print_nothing(capfd):
    model = build("resnet18", "imagenet", MNIST, 7, dense_classifier=True)
    assert model.fc.weight.shape == (7, 512)
    assert model.conv1.weight.shape == (64, 1, 7, 7)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "model_class", "shape"),
    [
        ("vgg11", "lottery", MNIST),
        ("resnet20", "lottery", TINY),
        ("resnet20", "lottery", (1, 20, 36)),
        ("vgg11", "tinyimagenet", CIFAR),
    ],
)
def test_input_shape_is_honoured(name, model_class, shape):
    assert build(name, model_class, shape, 10)(torch.randn(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "model_class"),
    [("vgg11", "lottery"), ("alexnet", "lottery"), ("vgg11-bn", "tinyimagenet"), ("squeezenet1_0", "torchvision")],
)
def test_too_small_images_are_refused(name, model_class):
    with pytest.raises(Refused, match=rf"--model {name}.* 3x8x8: ") as capture:
        build(name, model_class, (3, 8, 8), 10)
    refused(capture)


@pytest.mark.parametrize(
    ("model_class", "name"), [("lottery", "vgg11-bn"), ("lottery", "vgg16"), ("tinyimagenet", "resnet18"), ("user", "x.py:f")]
)
def test_pretrained_is_torchvisions(model_class, name):
    with pytest.raises(Refused, match=f"--pretrained .*{model_class}.*--weights FILE"):
        build(name, model_class, CIFAR, 10, pretrained=True)


def test_no_layer_is_shared_within_or_between_networks():
    modules = [m for _ in range(2) for m in on_meta("fc", "default", MNIST, 10)]
    assert len({id(m) for m in modules}) == len(modules)


def test_resnet_depths_and_shortcuts():
    with pytest.raises(ValueError, match="not 23"):
        lottery_resnet.resnet(23, CIFAR, 10)
    widths_differ = lottery_resnet.Block(4, 8, stride=1)
    assert widths_differ(torch.randn(1, 4, 6, 6)).shape == (1, 8, 6, 6)
    assert isinstance(tinyimagenet_resnet.BasicBlock(4, 4, 1, 2).shortcut, Identity2d)


def test_identity_multiplies_each_channel_and_is_not_trained():
    identity = Identity2d(3)
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(identity(x), x)
    with torch.no_grad():
        identity.weight[1] = 0
    assert torch.equal(identity(x)[:, 1], torch.zeros(2, 4, 5))
    assert [(n, p.shape, p.requires_grad) for n, p in identity.named_parameters()] == [("weight", (3, 1, 1), False)]
    identity.reset_parameters()
    assert torch.equal(identity(x), x)


# Names.


@pytest.mark.parametrize(
    ("name", "model_class", "dataset", "expected"),
    [
        ("fc", None, "mnist", ("default", "fc")),
        ("vgg16", None, "mnist", ("lottery", "vgg16")),
        ("vgg16_bn", None, "cifar10", ("lottery", "vgg16-bn")),
        ("vgg16", None, "tiny-imagenet", ("tinyimagenet", "vgg16")),
        ("vgg16", None, "imagenet", ("imagenet", "vgg16")),
        ("resnet18", None, "imagenet", ("imagenet", "resnet18")),
        ("resnet20", None, "imagenet", ("lottery", "resnet20")),
        ("fc", None, "tiny-imagenet", ("default", "fc")),
        ("wide-resnet18", None, "cifar10", ("tinyimagenet", "wide-resnet18")),
        ("wide-resnet152", None, "imagenet", ("tinyimagenet", "wide-resnet152")),
        ("vgg16", "imagenet", "cifar10", ("imagenet", "vgg16")),
        ("wide_resnet20", "lottery", "mnist", ("lottery", "wide-resnet20")),
        ("alexnet", None, "cifar100", ("lottery", "alexnet")),
        ("no-such", "torchvision", "cifar10", ("torchvision", "no-such")),
        ("a/b.py:net", None, "imagenet", ("user", "a/b.py:net")),
    ],
)
def test_resolve(name, model_class, dataset, expected):
    assert resolve(name, model_class, dataset) == expected


@pytest.mark.parametrize(
    ("name", "model_class", "dataset", "words"),
    [
        ("vgg16", "default", "mnist", ["vgg16", "default", "fc, conv"]),
        ("fc", "lottery", "mnist", ["fc", "lottery", "vgg11-bn", "alexnet"]),
        ("fc", "deafult", "mnist", ["deafult", "default, lottery, tinyimagenet, imagenet, torchvision"]),
        ("resnet18", None, "cifar10", ["resnet18", "tinyimagenet", "imagenet"]),
        ("VGG16", None, "cifar10", ["VGG16", "default: fc, conv;", "lottery: vgg11,", "--model-class torchvision"]),
        ("densenet121", None, "imagenet", ["densenet121", "--model-class torchvision"]),
        ("net.py:f", "default", "mnist", ["net.py:f", "--model-class default"]),
        ("net.py", None, "mnist", ["net.py", "FILE.py:FUNCTION"]),
    ],
)
def test_resolve_refuses(name, model_class, dataset, words):
    with pytest.raises(Refused) as capture:
        resolve(name, model_class, dataset)
    assert [word for word in words if word not in refused(capture)] == []


def test_build_refuses_unknown_class_and_name():
    with pytest.raises(Refused, match="lotery"):
        build("vgg16", "lotery", CIFAR, 10)
    with pytest.raises(Refused, match="resnet19"):
        build("resnet19", "lottery", CIFAR, 10)


def test_the_registry_imports_no_torch():
    code = "import sys, Models, Models.registry; sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'numpy')))"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


# torchvision's own.


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["squeezenet1-1", "shufflenet_v2_x0_5", "mnasnet0_5", "googlenet", "regnet-x-400mf"])
def test_torchvision_networks(name, capfd):
    model = build(name, "torchvision", (1, 64, 64), 7)
    assert model.eval()(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "size"), [("inception_v3", 80), ("vit_b_32", 64), ("swin_t", 64)])
def test_torchvision_networks_of_peculiar_sizes(name, size):
    with torch.device("meta"):
        model = torchvision_models.network(name, (3, size, size), 7)
    check_shape(model, (3, size, size), 7, name)


def test_torchvision_refusals():
    with pytest.raises(Refused, match=r"desnet121.*densenet121") as capture:
        build("desnet121", "torchvision", CIFAR, 10)
    refused(capture)
    with pytest.raises(Refused, match=r"inception_v3.*3x32x32"):
        build("inception_v3", "torchvision", CIFAR, 10)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A weights cache of this test's own, and no network."""
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("a connection was tried"))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    yield tmp_path / "checkpoints"
    torch.hub.set_dir(before)


def keep_weights(hub, monkeypatch, name):
    """Random weights where torchvision's own of `name` would be, under a name without their checksum."""
    weights = torchvision_models.torchvision.models.get_model_weights(name).DEFAULT
    source = torchvision_models.torchvision.models.get_model(name, weights=None)
    torch.save(source.state_dict(), hub / "weights.pth")
    monkeypatch.setattr(type(weights), "url", "https://localhost/weights.pth")
    monkeypatch.setattr(type(weights), "get_state_dict", lambda self, **_: torch.load(hub / "weights.pth"))
    return source


def test_pretrained_from_the_cache_with_a_new_classifier_and_grey_images(hub, monkeypatch):
    source = keep_weights(hub, monkeypatch, "squeezenet1_1")
    model = build("squeezenet1-1", "torchvision", (1, 64, 64), 7, pretrained=True, download=False)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert torch.allclose(model.features[0].weight, source.features[0].weight.mean(1, keepdim=True))
    assert torch.equal(model.features[0].bias, source.features[0].bias)
    assert torch.equal(model.features[3].squeeze.weight, source.features[3].squeeze.weight)
    same = build("squeezenet1_1", "torchvision", (3, 64, 64), 1000, pretrained=True, download=False)
    assert all(torch.equal(value, same.state_dict()[key]) for key, value in source.state_dict().items())


def test_pretrained_without_download(hub):
    with pytest.raises(Refused, match=r"https://.*resnet18-.*\.pth.*downloads are not allowed") as capture:
        build("resnet18", "torchvision", TINY, 10, pretrained=True, download=False)
    assert str(hub) in refused(capture)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (urllib.error.URLError("no route"), "no route"),
        (TimeoutError("slow"), "slow"),
        (RuntimeError("invalid hash value"), "invalid hash"),
    ],
)
def test_failed_download_names_the_url(hub, monkeypatch, error, words):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(Refused, match=rf"https://.*resnet18-.*\.pth.*{words}") as capture:
        build("resnet18", "torchvision", TINY, 10, pretrained=True)
    refused(capture)


# A user's own file.

USER = '''
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
NUMBER = 3
'''


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
        ("", "no function"),
        ("flat", "images of 1x28x28: .*784"),
        ("wrong_classes", r"\[1, 11\], not into \[1, 10\]"),
        ("pair", "without any Conv2d or Linear"),
        ("nothing", "NoneType, not a torch.nn.Module"),
        ("empty", "without any Conv2d or Linear"),
        ("raises", r"\(line 30\): KeyError: .*first"),
        ("leaves", "SystemExit: 3"),
        ("no_arguments", "TypeError: .*0 positional arguments"),
    ],
)
def test_user_network_refused(user_file, function, words):
    with pytest.raises(Refused, match=words) as capture:
        build(f"{user_file}:{function}", "user", MNIST, 10)
    assert f"{user_file}:{function}" in refused(capture)


def test_user_file_refused(user_file):
    with pytest.raises(Refused, match=r"there is no file .*none\.py"):
        build(f"{user_file.parent}/none.py:f", "user", MNIST, 10)
    with pytest.raises(Refused, match=r"\(line 2\): SyntaxError"):
        build(f"{user_file.parent}/broken.py:f", "user", MNIST, 10)
    (user_file.parent / "neighbour_of_net.py").unlink()
    sys.modules.pop("neighbour_of_net", None)
    with pytest.raises(Refused, match=r"\(line 6\): ModuleNotFoundError"):
        build(f"{user_file}:Net", "user", MNIST, 10)


# The check of shapes.


class Restless(nn.Module):
    """Changes itself and draws random numbers in every forward, in eval mode too."""

    def __init__(self, device_bound):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3, track_running_stats=True)
        self.norm.requires_grad_(False)
        self.register_buffer("count", torch.zeros(1))
        self.calls = 0
        self.offset = torch.ones(3) if device_bound else 0

    def forward(self, x):
        self.calls += 1
        self.count += 1
        self.norm.running_mean.add_(1)
        noise = torch.rand(1, 3, device=x.device)
        return self.norm(self.layer(x.flatten(1))) + noise + self.offset


@pytest.mark.parametrize("device_bound", [False, True])
def test_check_shape_changes_nothing(device_bound):
    model = Restless(device_bound)
    model.norm.eval()
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    tensors, rng = [id(t) for t in (*model.parameters(), *model.buffers())], torch.get_rng_state()
    check_shape(model, (1, 2, 2), 3, "restless")
    with pytest.raises(Refused, match=r"restless turns one image of 1x2x2 into \[1, 3\], not into \[1, 5\]"):
        check_shape(model, (1, 2, 2), 5, "restless")
    with pytest.raises(Refused, match=r"restless cannot take images of 1x3x3: ") as capture:
        check_shape(model, (1, 3, 3), 3, "restless")
    refused(capture)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [id(t) for t in (*model.parameters(), *model.buffers())] == tensors
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == modes
    assert model.calls == 0


def test_check_shape_of_a_network_that_returns_no_tensor():
    class Pair(nn.Flatten):
        def forward(self, x):
            return super().forward(x), 1

    with pytest.raises(Refused, match="a tuple"):
        check_shape(Pair(), (1, 2, 2), 4, "pair")


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


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def test_a_malicious_file_is_refused_and_not_run(tmp_path):
    file, target = tmp_path / "w.pt", tmp_path / "run"
    for legacy in (False, True):
        torch.save({"fc.weight": Malicious(target)}, file, _use_new_zipfile_serialization=not legacy)
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
    if kind == "mask":
        torch.save(state | {"fc.bias_mask": torch.ones(7)}, file)
        return ["fc.bias_mask", "[7]"]
    if kind in ("list", "text", "empty dict"):
        torch.save({"list": [1, 2], "text": {"a": "b"}, "empty dict": {}}[kind], file)
        return ["state_dict"]
    if kind in ("empty", "garbage"):
        file.write_bytes(b"" if kind == "empty" else b"PK\x03\x04 no archive")
        return ["not a whole file of tensors"]
    if kind == "cut":
        torch.save(state, file)
        file.write_bytes(file.read_bytes()[:5000])
        return ["not a whole file of tensors"]
    return ["there is no such file"]


KINDS = ["missing", "unexpected", "shape", "mask", "list", "text", "empty dict", "empty", "garbage", "cut", "absent"]


@pytest.mark.parametrize("kind", KINDS)
def test_unfit_weights_are_refused_and_change_nothing(tmp_path, kind):
    file, model = tmp_path / "w.pt", small(2)
    before = copy.deepcopy(model.state_dict())
    words = spoil(kind, small(1).state_dict(), file)
    with pytest.raises(Refused) as capture:
        load_weights(model, file)
    message = refused(capture)
    assert [word for word in [*words, str(file)] if word not in message] == []
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
