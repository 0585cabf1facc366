"""Batches: values by hand, bit-equality with torchvision, the laws of crops and orders, and the meta device."""


import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from Utils.data import batches
from Utils.data.augmentation import Normaliser, crop_flip
from Utils.data.batches import TensorSplit, statistics


def split(count=10, shape=(3, 8, 8), augment="crop-flip", device="cpu", seed=0):
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    images, labels = images.to(device), torch.arange(count).to(device)
    return TensorSplit(images, labels, (0.5,) * shape[0], (0.25,) * shape[0], augment)


def gather(pairs):
    images, labels = zip(*pairs, strict=True)
    return torch.cat(images), torch.cat(labels)


def test_normalising_by_hand():
    image = torch.tensor([[[[0, 255], [51, 102]]]], dtype=torch.uint8)
    out = Normaliser((0.5,), (0.25,), "cpu")(image)
    assert torch.allclose(out, torch.tensor([[[[-2.0, 2.0], [-1.2, -0.4]]]]))


def test_normalising_is_bit_equal_to_torchvision():
    values = torch.arange(256, dtype=torch.uint8).view(16, 16).expand(3, 16, 16)
    mean, std = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
    image = Image.fromarray(values.permute(1, 2, 0).numpy())
    expected = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])(image)
    assert torch.equal(Normaliser(mean, std, "cpu")(values[None])[0], expected)


def test_statistics_by_hand():
    images = torch.tensor([[[[0, 255]], [[51, 51]]]], dtype=torch.uint8)
    (mean_a, mean_b), (std_a, std_b) = statistics(images)
    assert (mean_a, std_a) == (0.5, 0.5)
    assert mean_b == pytest.approx(0.2) and std_b == 1.0  # constant: divisible by


def test_crop_flip_by_hand():
    image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)

    def cut(row, column, flip):
        return crop_flip(image, torch.tensor([row]), torch.tensor([column]), torch.tensor([flip]))[0, 0].tolist()

    assert cut(4, 4, False) == [[1, 2], [3, 4]]
    assert cut(4, 4, True) == [[2, 1], [4, 3]]
    assert cut(5, 4, False) == [[3, 4], [0, 0]]
    assert cut(4, 3, False) == [[0, 1], [0, 3]]
    assert cut(3, 3, True) == [[0, 0], [1, 0]]
    assert cut(0, 8, False) == [[0, 0], [0, 0]]


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), st.data())
def test_each_output_is_a_crop_or_its_mirror(shape, data):
    count, channels, height, width = shape
    row, column, flip = data.draw(st.tuples(st.integers(0, 8), st.integers(0, 8), st.booleans()))
    images = torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8)
    out = crop_flip(images, torch.full((count,), row), torch.full((count,), column), torch.full((count,), flip))
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    crop = padded[:, :, row : row + height, column : column + width]
    assert torch.equal(out, crop.flip(-1) if flip else crop)


def test_augmented_batches_use_every_shift_and_both_sides():
    count = 4000
    images = torch.zeros((count, 1, 9, 9), dtype=torch.uint8)
    images[:, 0, 4, 4], images[:, 0, 4, 5] = 200, 100  # the brighter pixel is left of the darker unless mirrored
    part = TensorSplit(images, torch.zeros(count, dtype=torch.int64), (0.0,), (1.0,), "crop-flip")
    out, _ = gather(part.train_batches(64, 1, "post-train", 0))
    bright = (out[:, 0] > 0.7).flatten(1).nonzero()
    assert len(bright) == count  # a shift of at most 4 never loses the centre
    assert set(bright[:, 1].tolist()) == set(range(81))
    dark = (out[:, 0] - 100 / 255).abs() < 1e-6
    mirrored = dark.flatten(1).nonzero()
    position = dict(mirrored.tolist())
    left = [position[i] < place for i, place in bright.tolist() if i in position]
    assert 0.4 < sum(left) / len(left) < 0.6


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 99), st.integers(0, 5))
def test_order_is_a_permutation(count, batch, seed, epoch):
    parts = list(split(count, (1, 2, 2), "none").train_batches(batch, seed, "post-train", epoch))
    sizes = [len(labels) for _, labels in parts]
    assert all(size == batch for size in sizes[:-1]) and sum(sizes) == count
    assert sorted(gather(parts)[1].tolist()) == list(range(count))


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_epoch_is_a_function_of_seed_phase_and_epoch_alone(augment):
    def epoch(*key, size=4):
        return gather(split(50, augment=augment).train_batches(size, *key))

    images, labels = epoch(1, "post-train", 0)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    again, labels_again = epoch(1, "post-train", 0)
    assert torch.equal(images, again) and torch.equal(labels, labels_again)
    assert torch.equal(torch.get_rng_state(), state)  # nor does it draw from the global stream
    for other in [(2, "post-train", 0), (1, "pre-train", 0), (1, "post-train", 1)]:
        assert not torch.equal(epoch(*other)[1], labels)
    assert torch.equal(epoch(1, "post-train", 0, size=7)[0], images)  # not even of the batch size


def test_chunks_change_nothing(monkeypatch):
    whole = gather(split(50).train_batches(4, 1, "post-train", 0))
    monkeypatch.setattr(batches, "CHUNK_BYTES", 1)
    assert torch.equal(gather(split(50).train_batches(4, 1, "post-train", 0))[0], whole[0])


def test_plain_batches_are_in_order_and_never_augmented():
    part = split(10)
    images, labels = gather(part.plain_batches(3))
    assert labels.tolist() == list(range(10)) and torch.equal(images, part.normalise(part.images))
    chosen = torch.tensor([7, 0, 7, 3])
    images, labels = gather(part.plain_batches(3, chosen))
    assert labels.tolist() == chosen.tolist() and torch.equal(images, part.normalise(part.images[chosen]))
    assert images.dtype == torch.float32 and labels.dtype == torch.int64


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_nothing_leaves_the_device(augment):
    """On the meta device whatever reads a value, or mixes devices, raises."""
    part = split(50, augment=augment, device="meta")
    for pairs in (part.train_batches(8, 1, "post-train", 0), part.plain_batches(8), part.plain_batches(8, torch.arange(20))):
        for images, labels in pairs:
            assert images.device.type == labels.device.type == "meta"
            assert images.shape[1:] == (3, 8, 8)
