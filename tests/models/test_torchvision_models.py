"""torchvision's networks, and the check of shapes."""

import copy
import socket
import urllib.error

import pytest
import torch
from torch import nn
from trees import message as refused

from Models import torchvision_models
from Models.logits import check_shape
from Models.registry import build
from Utils.base.errors import Refused

CIFAR, MNIST, TINY = (3, 32, 32), (1, 28, 28), (3, 64, 64)


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
