"""Images above 64 pixels: values of torchvision, moves on the device, and the processes that read them."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate
from torchvision import transforms

from Utils.base.errors import Refused, RunFailed
from Utils.data import reader as reader_module
from Utils.data.augmentation import PADDING, draw_move, move
from Utils.data.large_images import LoaderSplit
from Utils.data.reader import DIED, Reader, Request

AUGMENTED = ["crop-flip", "imagenet"]


class Gradients:
    """Sixteen images of 80 x 100 pixels."""

    def __len__(self):
        return 16

    def content(self, index):
        return None

    def image(self, index, content=None):
        red = torch.arange(100).expand(80, 100) + index
        return Image.fromarray(torch.stack([red, red // 2, 255 - red], -1).to(torch.uint8).numpy())


class Broken(Gradients):
    def image(self, index, content=None):
        if index == 8:
            raise Refused("cannot read the image 8.jpg (broken)")
        return super().image(index)


class Deadly(Gradients):
    """Kills the process that reads its eighth image."""

    def image(self, index, content=None):
        if index == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(index)


def loader(source, augment="imagenet", workers=0):
    part = LoaderSplit(Reader([source], 72, workers, "cpu"), 0, torch.arange(16), augment)
    part.set_statistics((0.4,) * 3, (0.2,) * 3)
    return part


def gather(pairs):
    images, labels = zip(*pairs, strict=True)
    return torch.cat(images), torch.cat(labels)


def readers():
    return {child.pid for child in multiprocessing.active_children()}


@pytest.mark.parametrize("augment", ["none", *AUGMENTED])
def test_they_depend_on_the_key_alone_not_on_the_workers(augment):
    def epoch(workers, *key):
        return gather(loader(Gradients(), augment, workers).train_batches(5, *key))

    torch.manual_seed(3)
    state = torch.get_rng_state()
    images, labels = epoch(0, 1, "post-train", 0)
    assert images.shape == (16, 3, 72, 72) and sorted(labels.tolist()) == list(range(16))
    with_workers, labels_again = epoch(2, 1, "post-train", 0)
    assert torch.equal(images, with_workers) and torch.equal(labels, labels_again)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(epoch(0, 1, "post-train", 1)[1], labels)


def test_they_are_tested_as_in_torchvision():
    steps = [transforms.Resize(82), transforms.CenterCrop(72), transforms.ToTensor()]
    expected = transforms.Compose([*steps, transforms.Normalize((0.4,) * 3, (0.2,) * 3)])
    images, labels = gather(loader(Gradients()).plain_batches(3, torch.tensor([5, 2])))
    assert labels.tolist() == [5, 2]
    assert torch.equal(images, torch.stack([expected(Gradients().image(index)) for index in (5, 2)]))


@pytest.mark.parametrize("augment", AUGMENTED)
def test_moves_on_a_card_give_the_bits_of_moves_in_the_processes(augment):
    request = Request(0, list(range(16)), augment, seed=7)
    plain, none = default_collate(reader_module._Decoded([Gradients()], 72, held=False).__getitems__(request))
    held, moves = default_collate(reader_module._Decoded([Gradients()], 72, held=True).__getitems__(request))
    assert none.shape == (16, 0) and moves.shape == (16, 3) and not torch.equal(held, plain)
    assert torch.equal(move(held, moves, augment), plain)
    assert torch.equal(move(plain, none, "none"), plain)
    assert move(held.to("meta"), moves.to("meta"), augment).shape == plain.shape  # reads no number back


def test_moves_by_hand():
    image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
    assert move(image, torch.tensor([[PADDING, PADDING, 1]]), "imagenet").tolist() == [[[[2, 1], [4, 3]]]]
    assert move(image, torch.tensor([[PADDING + 1, PADDING, 0]]), "crop-flip").tolist() == [[[[3, 4], [0, 0]]]]
    torch.manual_seed(0)
    rows, columns, flips = torch.stack([draw_move("crop-flip") for _ in range(200)]).unbind(1)
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(2 * PADDING + 1)) and 80 < flips.sum() < 120
    assert draw_move("imagenet")[:2].tolist() == [PADDING, PADDING]


def test_the_processes_stay_for_the_next_pass_and_go_with_their_reader():
    part, before, handler = loader(Gradients(), "none", 2), readers(), signal.getsignal(signal.SIGCHLD)
    expected = gather(loader(Gradients(), "none").plain_batches(5))[0]
    first = gather(part.plain_batches(5))[0]
    running = readers() - before
    assert len(running) == 2 and torch.equal(first, expected)
    for seed in range(2):
        assert len(list(part.train_batches(5, seed, "p", 0))) == 3
    assert torch.equal(gather(part.plain_batches(9))[0], expected) and readers() - before == running
    assert signal.getsignal(signal.SIGCHLD) == handler  # torch's would raise errors anywhere
    other = loader(Gradients(), "none", 1)
    list(other.plain_batches(8))
    assert len(readers() - before) == 1 and not readers() & running  # of one reader at a time
    other.reader.close()
    assert readers() == before


def test_a_pass_within_a_pass_and_one_that_is_left_early():
    part, before = loader(Gradients(), "none", 1), readers()
    expected = gather(part.plain_batches(4))[0]
    outer = part.plain_batches(4)
    seen = [next(outer)[0]]
    assert torch.equal(gather(part.plain_batches(3, torch.arange(6)))[0], expected[:6])
    assert torch.equal(torch.cat([*seen, *(images for images, _ in outer)]), expected)
    assert len(readers() - before) == 1
    left = part.plain_batches(4)
    next(left)
    left.close()
    assert readers() == before
    assert torch.equal(gather(part.plain_batches(4))[0], expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named_in_one_line(workers):
    with pytest.raises(ValueError, match=r"\Acannot read the image 8.jpg \(broken\)\Z"):
        list(loader(Broken(), workers=workers).plain_batches(4))


def test_a_process_that_died_is_told_in_one_line_and_replaced(monkeypatch):
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.05)
    part = loader(Deadly(), "none", 1)
    with pytest.raises(RunFailed, match="a worker process that reads images died") as told:
        list(part.plain_batches(4))
    assert str(told.value) == DIED and "\n" not in DIED
    assert len(list(part.plain_batches(4, torch.arange(8)))) == 2


@pytest.mark.parametrize("error", [ConnectionResetError(104, "reset"), EOFError(), FileNotFoundError(2, "gone")])
def test_a_process_that_dies_while_its_batch_is_fetched_is_told_alike(monkeypatch, error):
    def fetched(loader):
        yield from ()
        raise error

    monkeypatch.setattr(reader_module, "_begun", fetched)
    with pytest.raises(RunFailed, match="a worker process that reads images died"):
        list(loader(Gradients(), "none", 1).plain_batches(4))


def test_a_forked_process_leaves_those_of_its_parent_alone():
    part = loader(Gradients(), "none", 1)
    expected = gather(part.plain_batches(4))[0]
    running = readers()
    child = os.fork()
    if child == 0:
        try:
            os._exit(not torch.equal(gather(part.plain_batches(4))[0], expected))
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert torch.equal(gather(part.plain_batches(4))[0], expected) and readers() == running


def test_a_thousand_workers_are_as_many_as_are_of_use(monkeypatch):
    """Each would be a process with a batch to read."""
    asked = []
    monkeypatch.setattr(reader_module.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(Reader, "_make", lambda self, requests, count, keep: asked.append(count))
    monkeypatch.setattr(reader_module, "_checked", lambda loader: iter(()))
    part = loader(Gradients(), "none", 1000)
    assert not list(part.reader.read([Request(0, [0])] * 500)) and not list(part.reader.read([Request(0, [0])] * 3))
    assert asked == [8, 3]
