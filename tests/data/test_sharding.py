"""Shares of batches: every image once, in order, as for one process, and gradients whose mean is that of the batch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from Utils.compute import processes
from Utils.data.open_set import open_dataset
from Utils.data.sharding import IGNORED, batch_sizes, take
from Utils.training.loops import train_epoch

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(sizes, st.integers(1, 9))
def test_shares_are_every_image_once_and_in_order(sizes, ranks):
    parts = [take(sizes, (rank, ranks)) for rank in range(ranks)]
    batches = torch.arange(sum(sizes)).split(sizes)
    for number, batch in enumerate(batches):
        mine = [(p.positions.split(p.sizes)[number], p.own.split(p.sizes)[number]) for p in parts]
        assert torch.equal(torch.cat([positions[own] for positions, own in mine]), batch)
        counts = [int(own.sum()) for _, own in mine]
        assert max(counts) - min(counts) <= 1
        for positions, own in mine:
            assert len(positions) == max(int(own.sum()), min(2, len(batch)))
            assert set(positions.tolist()) <= set(batch.tolist()) and len(set(positions.tolist())) == len(positions)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(1, 20), st.integers(2, 5), st.sampled_from(["none", "crop-flip"]))
def test_shares_of_a_dataset_are_parts_of_its_batches(count, batch_size, ranks, augment):
    """The very images, augmented as for one process; and every test image once."""
    data = open_dataset(f"synthetic:1x6x6:2:{count}", augment=augment)
    key = (batch_size, 1, "post_train", 2)
    shares = [list(data.train_batches(*key, (rank, ranks))) for rank in range(ranks)]
    for (images, labels), *parts in zip(data.train_batches(*key), *shares, strict=True):
        assert torch.equal(torch.cat([x[y != IGNORED] for x, y in parts]), images)
        assert torch.equal(torch.cat([y[y != IGNORED] for _, y in parts]), labels)
    tests = [pair for rank in range(ranks) for pair in data.test_batches(batch_size, (rank, ranks))]
    whole = list(data.test_batches(batch_size))
    for part in (0, 1):
        assert torch.equal(torch.cat([pair[part] for pair in tests]), torch.cat([pair[part] for pair in whole]))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 40])
def test_gradients_of_shares_have_the_mean_of_the_batch(monkeypatch, batch_size):
    """With more processes than images in a batch, too."""
    ranks = 3
    data = open_dataset("synthetic:1x4x4:3:7")
    start = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).state_dict()
    sizes = batch_sizes(7, batch_size)

    def epoch(share, sizes=None):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        model.load_state_dict(start)
        found = []
        stand_in = SimpleNamespace(zero_grad=model.zero_grad, step=lambda: found.append(model[1].weight.grad.clone()))
        loss = train_epoch(model, stand_in, data.train_batches(batch_size, 1, "post_train", 1, share), sizes)
        return torch.stack(found), loss

    gradients, loss = epoch((0, 1))
    monkeypatch.setattr(processes, "share", lambda: (0, ranks))
    parts = [epoch((rank, ranks), sizes) for rank in range(ranks)]
    assert torch.allclose(torch.stack([p[0] for p in parts]).mean(0), gradients, atol=1e-6)
    assert torch.stack([p[1] for p in parts]).mean().item() == pytest.approx(loss.item())
