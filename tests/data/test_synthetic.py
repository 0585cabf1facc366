"""Synthetic sets."""

import torch

from Utils.data.open_set import open_dataset


def test_synthetic_depends_on_its_name_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (open_dataset(f"synthetic:3x8x10:4:{count}") for count in (103, 103, 104))
    for data in (first, again, other):
        data.load()
    assert torch.equal(torch.get_rng_state(), state)
    assert (first.input_shape, first.num_classes, first.train_size, first.test_size) == ((3, 8, 10), 4, 103, 20)
    assert torch.equal(first._train.images, again._train.images) and torch.equal(first._test.images, again._test.images)
    assert not torch.equal(first._train.images, other._train.images[:103])
    assert torch.bincount(first.train_labels).tolist() == [26, 26, 26, 25]
    assert torch.bincount(first.test_labels).tolist() == [5, 5, 5, 5]
    assert first._train.images.dtype == torch.uint8
    assert open_dataset("synthetic:1x8x8:2:2").test_size == 1


def test_synthetic_can_be_learnt():
    data = open_dataset("synthetic:1x8x8:4:400")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for epoch in range(10):
        for images, labels in data.train_batches(32, 1, "post-train", epoch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
    [(images, labels)] = data.test_batches(1000)
    assert (model(images).argmax(1) == labels).float().mean() > 0.9
