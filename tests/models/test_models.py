"""Networks: the ancestor's initial weights, every registered network, the ancestor's defects, names."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import PROJECT
from torch import nn
from trees import message as refused

from Models import lottery_resnet, tinyimagenet_resnet
from Models.layers import Identity2d
from Models.logits import check_shape
from Models.registry import CLASSES, NATURAL, build, describe, factory, resolve
from Utils.base.errors import Refused

GOLDEN = json.loads((PROJECT / "tests/golden/initial_weights.json").read_text())
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
        ("VGG16", None, "cifar10", ["VGG16", "default: fc, conv", "lottery: vgg11,", "--model-class torchvision"]),
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
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_an_identity_shortcut_sees_what_is_written_and_takes_inference_tensors():
    shortcut, x = Identity2d(2), torch.ones(1, 2, 1, 1)
    assert shortcut(x) is x
    with torch.no_grad():
        shortcut.weight.mul_(3)
    assert shortcut(x).flatten().tolist() == [3, 3]
    with torch.inference_mode():
        assert torch.equal(Identity2d(2)(x), x)
