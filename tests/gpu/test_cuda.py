"""The same work on CUDA: these tests need a device and are skipped, saying so, without one."""

from __future__ import annotations

import pytest
import torch

import Pruners
from Models import registry
from Models.masking import add_masks, hold_masks
from Pruners.loop import prune_loop
from Pruners.problem import Problem
from Utils.data.batches import TensorSplit
from Utils.epochs import test_sums as sums_over
from Utils.epochs import train_epoch
from Utils.optimization import make_optimizer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
SHAPE = (3, 32, 32)


def pruned(name: str, device: str) -> list[torch.Tensor]:
    torch.manual_seed(1)
    model = registry.build("resnet20", "lottery", SHAPE, 10)
    batch = (torch.randn(40, *SHAPE).to(device), (torch.arange(40) % 10).to(device))
    p = Problem(model.to(device), add_masks(model), SHAPE, read_batches=lambda: [batch])
    prune_loop(p, Pruners.load(name)(), 0.1, rounds=3)
    return [m.cpu() for m in p.masks]


@pytest.mark.parametrize("name", Pruners.names())
def test_masks_agree_with_the_cpu(name):
    cpu, cuda = pruned(name, "cpu"), pruned(name, "cuda")
    assert sum(int(m.sum()) for m in cuda) == sum(int(m.sum()) for m in cpu)
    same = sum(int((a == b).sum()) for a, b in zip(cpu, cuda, strict=True)) / sum(m.numel() for m in cpu)
    assert same == 1 if name in ("rand", "mag") else same > 0.99


def test_batches_agree_with_the_cpu():
    images = torch.randint(0, 256, (50, *SHAPE), dtype=torch.uint8)
    labels = torch.arange(50) % 10
    splits = [TensorSplit(images.to(d), labels.to(d), (0.5,) * 3, (0.2,) * 3, "crop-flip") for d in ("cpu", "cuda")]
    for (x, y), (u, v) in zip(*(s.train_batches(16, 1, "post_train", 2) for s in splits), strict=True):
        assert torch.equal(x, u.cpu()) and torch.equal(y, v.cpu())


def test_an_epoch_does_not_wait_for_the_device():
    """Any synchronisation raises while an epoch of training and a test pass are issued."""
    model = registry.build("resnet20", "lottery", SHAPE, 10)
    prunables = add_masks(model)
    model.cuda()
    images = torch.randint(0, 256, (64, *SHAPE), dtype=torch.uint8, device="cuda")
    split = TensorSplit(images, torch.arange(64, device="cuda") % 10, (0.5,) * 3, (0.2,) * 3, "none")
    optimizer = make_optimizer(model, "adam", 0.001, 0.0)
    hold_masks(optimizer, prunables)
    batches = list(split.plain_batches(16))
    train_epoch(model, optimizer, batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = train_epoch(model, optimizer, batches)
        sums_over(model, batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
