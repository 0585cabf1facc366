"""Masks made of zero scores are counted, named and explained; layers that scoring treats apart."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from Models.masking import add_masks
from Pruners._shared.base import Pruner
from Pruners._shared.loop import Unscorable, prune_loop
from Pruners._shared.problem import Problem
from Pruners._shared.zero_scores import ZeroScores
from Pruners.grasp import GraSP

SMALL = ("--experiment", "prune", "--dataset", "synthetic:1x8x8:3:60")
NETWORKS = """
import torch
from torch import nn
import torch.nn.functional as F


def zero_head(shape, classes):
    head = nn.Linear(32, classes)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), head)


def frozen(shape, classes):
    net = zero_head(shape, classes)
    return net.requires_grad_(False).append(nn.Linear(classes, classes)) and _Frozen(net)


class _Frozen(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net, self.bias = net[:4], nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return self.net(x) + self.bias


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x):
        return F.relu(x + self.norm(self.conv(x)))


def zero_scales(shape, classes):
    body = [nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), Block(), Block()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
"""


@pytest.fixture
def networks(tmp_path):
    Path(tmp_path / "nets.py").write_text(NETWORKS)
    return tmp_path


class Given(Pruner):
    """Scores that are handed in."""

    def __init__(self, *scores):
        self.scores = [torch.tensor(s) for s in scores]

    def score(self, problem):
        return self.scores


def two_layers():
    net = nn.Sequential(nn.Linear(4, 1, bias=False), nn.Linear(1, 3, bias=False))
    return Problem(net, add_masks(net), (4,))


@pytest.mark.parametrize(("kept", "scope", "found"), [
    (6, "global", {"0.weight": 2}), (5, "global", {"0.weight": 1}), (4, "global", {}), (3, "global", {}), (7, "global", {}),
    (3.5, "local", {"0.weight": 1}),
])  # fmt: skip
def test_zeros_kept_by_position_by_hand(kept, scope, found):
    """Scores 3 0 0 2 and 1 5 0: global cuts keep the 4 largest and then zeros by position; local ones 2 and 2, of 3 and 0 0 2."""
    p, zeros = two_layers(), ZeroScores()
    scores = (
        ([[3.0, 0.0, 0.0, 2.0]], [[1.0], [5.0], [0.0]]) if scope == "global" else ([[3.0, 0.0, 0.0, 0.0]], [[1.0], [5.0], [0.0]])
    )
    prune_loop(p, Given(*scores), kept / 7, rounds=1, scope=scope, zeros=zeros)
    assert zeros.layers == found and bool(zeros.cause) == bool(found)


def test_a_zero_between_kept_and_pruned_scores_of_either_sign_is_not_kept_by_position():
    p, zeros = two_layers(), ZeroScores()
    prune_loop(p, Given([[3.0, 0.0, 0.0, 2.0]], [[-1.0], [-5.0], [0.0]]), 5 / 7, rounds=1, zeros=zeros)
    assert zeros.layers == {}


def test_zeros_alone_are_refused_where_they_decide():
    zeros = Given([[0.0] * 4], [[0.0]] * 3)
    with pytest.raises(Unscorable, match=r"the scores of all layers are zero. Likely cause: units that no scoring image"):
        prune_loop(two_layers(), zeros, 0.5, rounds=1)
    prune_loop(two_layers(), zeros, 1.0, rounds=1)
    p = two_layers()
    p.masks[1].zero_()  # collapsed before: no path, and no fault of the scores
    prune_loop(p, zeros, 0.2, rounds=1)


@pytest.mark.parametrize("pruner", ["snip", "synflow"])
def test_a_zero_head_is_refused(networks, refused, pruner):
    words = [*SMALL, "--model", "nets.py:zero_head", "--pruner", pruner, "--sparsity", "0.5"]
    refused(words, "nets.py:zero_head", "scores of all layers are zero", "zero-initialised layers (3.weight)", "--pre-epochs")


def test_after_dense_training_the_run_fails(networks, command):
    done = command("--dataset", SMALL[3], "--model", "nets.py:frozen", "--pruner", "snip", "--sparsity", "0.5", "--pre-epochs", 1,
                   "--post-epochs", 1, "--expid", "f")  # fmt: skip
    assert done.status == 1 and "net.3.weight" in done.err, done
    summary = json.loads(Path("Results/data/singleshot/f/summary.json").read_text())
    assert summary["status"] == "failed" and "zero-initialised layers (net.3.weight)" in summary["reason"]


def test_zero_scales_are_warned_of_saved_and_printed(networks, command):
    """Two convolutions of 144 weights have zeros; of 336 weights 0.3 are cut: 100 of the 288 zeros."""
    words = (*SMALL, "--model", "nets.py:zero_scales", "--pruner-list", "snip", "rand", "--sparsity", "0.3", "--expid", "z")
    done = command(*words)
    assert done.status == 0 and "kept_by_position" in done.out, done
    frame = pd.read_csv("Results/data/prune/z/grid.csv").set_index("pruner")
    assert frame["kept_by_position"].to_dict() == {"snip": 188, "rand": 0}
    cell = Path("Results/data/prune/z/pruner=snip")
    summary = json.loads((cell / "summary.json").read_text())
    assert summary["zero_scores"]["layers"] == {"3.conv.weight": 144, "4.conv.weight": 44}
    assert "zero_scores" not in json.loads((cell.parent / "pruner=rand/summary.json").read_text())
    for text in (
        (cell / "log.txt").read_text(),
        command(*words[:5], "nets.py:zero_scales", "--pruner", "snip", "--sparsity", "0.3").out,
    ):
        assert "WARNING: KEPT BY POSITION: the scores of 188 kept weights are zero" in text
        assert (
            "3.conv.weight 144, 4.conv.weight 44. Likely cause: the scales of norms are zero (3.norm.weight, 4.norm.weight)"
            in text
        )
    ordinary = command(*SMALL, "--pruner-list", "snip", "rand", "--no-save", "--sparsity", "0.9")
    assert "kept_by_position" not in ordinary.out and "KEPT BY" not in ordinary.out, ordinary


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.head = nn.Linear(4, 12), nn.Linear(4, 3)

    def forward(self, x):
        q, k, v = self.qkv(x).unsqueeze(1).chunk(3, -1)
        return self.head(F.scaled_dot_product_attention(q, k, v).squeeze(1)[:, 0])


def test_grasp_scores_fused_attention():
    torch.manual_seed(0)
    net = Attention()
    p = Problem(net, add_masks(net), (5, 4), read_batches=lambda: [(torch.randn(6, 5, 4), torch.randint(0, 3, (6,)))])
    assert all(bool(s.any()) and bool(torch.isfinite(s).all()) for s in GraSP().score(p))


class Relu6(nn.Module):
    def forward(self, x):
        return F.relu6(x + 3) / 6


@pytest.mark.parametrize("inplace", [False, True])
def test_grasp_scores_hard_sigmoids_by_their_second_derivatives(inplace):
    def scores(gate):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), gate, nn.Linear(8, 3))
        batch = torch.randn(6, 4), torch.randint(0, 3, (6,))
        return GraSP().score(Problem(net, add_masks(net), (4,), read_batches=lambda: [batch]))

    found, want = scores(nn.Hardsigmoid(inplace)), scores(Relu6())
    assert want[0].any() and all(torch.equal(a, b) for a, b in zip(found, want, strict=True))


@pytest.mark.parametrize(("layer", "enabled"), [(nn.GRU(4, 3), False), (nn.Linear(4, 3), True)])
def test_recurrent_layers_are_scored_without_cudnn(layer, enabled):
    net = nn.Sequential(nn.Linear(4, 4), layer)
    before = torch.backends.cudnn.enabled
    with Problem(net, add_masks(net), (4,)).scoring(0):
        assert torch.backends.cudnn.enabled is (enabled and before)
    assert torch.backends.cudnn.enabled is before


def test_train_mode_of_synflow_is_warned_of_once(command):
    words = (
        *SMALL[:2],
        "--dataset",
        "synthetic:3x32x32:3:60",
        "--no-save",
        "--model-class",
        "lottery",
        "--model",
        "resnet20",
        "--prune-epochs",
        "1",
    )
    said = "WARNING: --prune-train-mode with --pruner synflow: BatchNorm"
    assert command(*words, "--pruner", "synflow", "--prune-train-mode").out.count(said) == 1
    assert said not in command(*words, "--pruner", "synflow").out
    assert said not in command(*words, "--pruner", "rand", "--prune-train-mode").out
