"""Effective weights of modern layers: dense networks act in every weight, pruned ones where a path leads, and COLLAPSED agrees."""

from __future__ import annotations

import pytest
import torch
from function_networks import IMAGE, Lambda, Net, rows
from torch import nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2
from torchvision.models.vision_transformer import VisionTransformer

from Models.effective import find_paths
from Models.masking import add_masks
from Models.reach import has_path
from Utils.measure.counting import compression_table, effective_density, unused


def between(function, width=16):
    """A hidden layer of 16 units, `function`, a last layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), Lambda(function), nn.Linear(width, 3))


def attended(n, x):
    q, k, v = n["qkv"](n["embed"](rows(x))).unsqueeze(1).chunk(3, -1)
    return n["head"](F.scaled_dot_product_attention(q, k, v).squeeze(1)[:, 0])


def attended_by_einsum(n, x):
    q, k, v = n["qkv"](n["embed"](rows(x))).chunk(3, -1)
    weights = torch.einsum("bie,bje->bij", F.normalize(q, dim=-1), F.normalize(k, dim=-1)).softmax(-1)
    return n["head"](torch.einsum("bij,bje->bie", weights, v).mean(1))


def standardised(n, x):
    w = n["a"].weight
    return n["b"](F.conv2d(x, (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)).mean((2, 3)))


def dynamic(n, x):
    """The image decides on the weights of a layer."""
    x = x.flatten(1)
    return torch.bmm(n["w"](x).view(-1, 3, 4), n["a"](x)[:, :, None])[:, :, 0]


def recurrent(n, x):
    return n["head"](n["rnn"](rows(x))[0][:, -1])


def class_token(n, x):
    """A token that no image changes asks the patches."""
    rest = n["embed"](rows(x))
    x = torch.cat([n["token"].weight.expand(len(x), 1, 8), rest], 1)
    weights = (n["q"](x[:, :1]) @ n["k"](x).transpose(1, 2)).softmax(-1)
    return n["head"]((weights @ n["v"](x))[:, 0])


def coordinates(n, x):
    places = torch.linspace(0.1, 1, 8).expand(len(x), 1, 8, 8)
    return n["b"](n["a"](torch.cat([x, places], 1)).relu().mean((2, 3)))


def routed(n, x):
    x = n["a"](x.flatten(1)).relu()
    chosen, found = n["gate"](x).argmax(1), torch.zeros(len(x), 8)
    for i, layer in enumerate((n["b"], n["c"])):
        places = torch.where(chosen == i)[0]
        found[places] = layer(x[places])
    return n["head"](found)


def qkv():
    return {"embed": nn.Linear(8, 8), "qkv": nn.Linear(8, 24), "head": nn.Linear(8, 3)}


NETWORKS = {
    "rms": lambda: between(nn.RMSNorm(16)), "cosine": lambda: between(lambda x: F.normalize(F.relu(x))),
    "clamp": lambda: between(lambda x: x.clamp(5, 6)), "log_softmax": lambda: nn.Sequential(between(torch.relu), nn.LogSoftmax(1)),
    "softmax": lambda: nn.Sequential(between(torch.sigmoid), nn.Softmax(1)), "glu": lambda: between(F.glu, 8),
    "lrn": lambda: between(lambda x: F.local_response_norm(x[..., None], 3)[..., 0]), "power": lambda: between(lambda x: x**2 - x**2),
    "fourier": lambda: between(lambda x: torch.fft.fft(x).abs()), "sort": lambda: between(lambda x: x.sort(1).values),
    "top": lambda: between(lambda x: x.topk(4).values, 4), "max": lambda: between(lambda x: x.view(-1, 4, 4).max(2).values, 4),
    "pairs": lambda: between(lambda x: torch.cdist(x.view(-1, 4, 4), x.view(-1, 4, 4)).flatten(1)),
    "attention": lambda: Net(attended, **qkv()), "einsum": lambda: Net(attended_by_einsum, **qkv()),
    "multihead": lambda: Net(lambda n, x: n["head"](n["mha"](*[n["embed"](rows(x))] * 3)[0].mean(1)), embed=nn.Linear(8, 8),
                             mha=nn.MultiheadAttention(8, 2, batch_first=True), head=nn.Linear(8, 3)),
    "encoder": lambda: Net(lambda n, x: n["head"](n["enc"](rows(x)).mean(1)), enc=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
                           head=nn.Linear(8, 3)),
    "gru": lambda: Net(recurrent, rnn=nn.GRU(8, 4, batch_first=True), head=nn.Linear(4, 3)),
    "lstm": lambda: Net(recurrent, rnn=nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True), head=nn.Linear(8, 3)),
    "standardised": lambda: Net(standardised, a=nn.Conv2d(1, 4, 3, bias=False), b=nn.Linear(4, 3)),
    "dynamic": lambda: Net(dynamic, w=nn.Linear(64, 12), a=nn.Linear(64, 4)),
    "bilinear": lambda: Net(lambda n, x: n["b"](n["a"](x.flatten(1)), n["a"](x.flatten(1))), a=nn.Linear(64, 4), b=nn.Bilinear(4, 4, 3)),
    "transposed": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 2, 2), nn.BatchNorm2d(4), nn.AdaptiveMaxPool2d(1),
                                        nn.Flatten(), nn.Linear(4, 3)),
    "shuffled": lambda: nn.Sequential(nn.Conv2d(1, 16, 3, padding=2, dilation=2), nn.PixelShuffle(2), nn.Conv2d(4, 8, 3, groups=2), nn.InstanceNorm2d(8),
                                      nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(), nn.LazyLinear(3)),
    "weight_norm": lambda: nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(64, 8)), nn.ReLU(), nn.Linear(8, 3)),
    "spectral_norm": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), nn.Linear(8, 3)),
    "class token": lambda: Net(class_token, token=nn.Embedding(1, 8), **{n: nn.Linear(8, 3 if n == "head" else 8) for n in ("embed", "q", "k", "v", "head")}),
    "coordinates": lambda: Net(coordinates, a=nn.Conv2d(2, 4, 3), b=nn.Linear(4, 3)),
    "vit": lambda: VisionTransformer(8, 4, 2, 2, 8, 16, num_classes=3),
    "swin_v2": lambda: SwinTransformer([2, 2], 8, [2, 2], [2, 2], [2, 2], num_classes=3, block=SwinTransformerBlockV2,
                                       downsample_layer=PatchMergingV2),
}  # fmt: skip


def built(name):
    torch.manual_seed(0)
    model = NETWORKS[name]()
    shape = (3, 8, 8) if name in ("vit", "swin_v2") else IMAGE
    with torch.no_grad():
        model.eval()(torch.zeros(2, *shape))
    return model, add_masks(model), shape


@pytest.mark.parametrize("name", NETWORKS)
def test_a_dense_network_acts_in_every_weight_and_a_pruned_one_agrees_with_its_verdict(name):
    model, prunables, shape = built(name)
    live = find_paths(model, prunables, shape).live
    assert [n for n, t in live.items() if not t.all()] == []
    draws = torch.Generator().manual_seed(1)
    for density in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0):
        for p in prunables:
            p.mask.copy_(torch.rand(p.mask.shape, generator=draws) < density)
        live = find_paths(model, prunables, shape).live
        assert all(bool((live[p.name] <= (p.mask != 0)).all()) for p in prunables)
        assert has_path(model, prunables, shape) == any(bool(live[p.name].any()) for p in prunables), density
    for p in prunables[:-1]:
        p.mask.fill_(1)
    assert not has_path(model, prunables, shape) or name == "dynamic"  # whose last layer is one of two ways


def test_layers_that_the_image_chooses_keep_all_weights_and_none_is_unused():
    net = Net(routed, a=nn.Linear(64, 8), gate=nn.Linear(8, 2), b=nn.Linear(8, 8), c=nn.Linear(8, 8), head=nn.Linear(8, 3))
    prunables = add_masks(net)
    table = compression_table(net, prunables, [p.mask for p in prunables], IMAGE)
    assert effective_density(table) == 1 and unused(table) == {}


def test_a_class_token_alone_is_no_path():
    net = NETWORKS["class token"]()
    prunables = add_masks(net)
    next(p for p in prunables if p.module_name.endswith("embed")).mask.zero_()
    assert not has_path(net, prunables, IMAGE) and not any(
        find_paths(net, prunables, IMAGE).live[p.name].any() for p in prunables
    )
