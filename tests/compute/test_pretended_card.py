"""Every experiment on a card that is not there: in the order in which CUDA is initialised, and under its rules for devices.

Each command runs once on the CPU and once on `pretend.card()`, which computes on the CPU, so that all numbers must be the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from crash.numbers import differences, numbers
from device_commands import COMMANDS, DATA, GRID, LEVELS, OF_SAVED_RUNS, REGROWTH, SPARSE
from pretend import CARD, OnCard, card

from Models.masking import add_masks, apply_masks
from Utils.compute.precision import Precision
from Utils.data.batches import TensorSplit

SHOT = Path("Results/data/singleshot")


def use_one_layout(monkeypatch):
    """Store images and parameters alike on all devices: the CPU's own layout, and that of a card's tensor cores, round otherwise."""
    monkeypatch.setattr("Utils.training.passes.image_format", lambda model: torch.contiguous_format)
    monkeypatch.setattr(Precision, "layout", torch.contiguous_format)


@pytest.fixture
def both(command, monkeypatch):
    """A function that runs a command on the card, then with `--no-cuda`, and returns what the first came to; both must succeed."""
    use_one_layout(monkeypatch)

    def run(*words):
        with card() as state:
            done = command(*words, "--result-dir", "card")
        assert done.status == 0, done
        assert state.touched == {0}
        plain = command(*words, "--result-dir", "plain", "--no-cuda")
        assert plain.status == 0, plain
        return done

    return run


def same(folder):
    """Both runs have the same numbers, and the first says that it was made on the card."""
    assert not differences(results(Path("card", folder)), results(Path("plain", folder)))
    made = [json.loads(Path(place, folder, "args.json").read_text()) for place in ("card", "plain")]
    assert [args["device"].split(":")[0] for args in made] == ["cuda", "cpu"]
    if "computed_in" in made[0]:
        assert [args["computed_in"] for args in made] == ["tf32", "float32"]
    else:
        assert "precision" not in made[0]


def results(folder):
    """Everything that a run came to, but for the name of its precision: what pretends to be TF32 computes in float32."""
    found = numbers(folder)
    found["summary.json"].pop("precision", None)
    found["summary.json"].pop("stack", None)  # on a card several cells are trained at once
    return found


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("uniform", "uniform-plus", "mag")])  # which do as erk and lamp
def test_every_pruner_and_experiment(both, name):
    words, folder = COMMANDS[name]
    both(*words)
    same(folder)


def test_mixed_precision(command):
    with card():
        done = command(*DATA, "--pruner", "snip", "--quantization", "--expid", "x")
    assert done.status == 0 and "Mixed precision: bfloat16" in done.out and "NOTE: mixed precision" not in done.out


def test_levels_that_rewind_a_compact_network_from_the_cache(both):
    """The dense network of the second command comes from the cache, on the CPU, and is cut by places on the card."""
    for name in "ab":
        both(*LEVELS, "--expid", name)
        same(f"multishot/{name}/level=2")


def test_a_grid_and_what_is_done_with_saved_runs(both, command, quick):
    both(*GRID)
    assert json.loads(Path("card/singleshot/g/pruner=mag,ablate=shuffle/summary.json").read_text())["stack"] == 8
    for cell in Path("card/singleshot/g").glob("pruner=*"):
        same(f"singleshot/g/{cell.name}")
    assert json.loads(Path("card/singleshot/g/args.json").read_text())["device"].startswith("cuda: Pretended")
    run = "card/singleshot/g/pruner=rand,ablate=none"
    for experiment in OF_SAVED_RUNS:
        with card():
            done = command("--experiment", experiment, "--run", run)
        assert done.status == 0, (experiment, done)


def test_regrowth(both):
    both(*SPARSE)
    for experiment, *words in REGROWTH:
        both("--experiment", experiment, "--run", "plain/singleshot/sparse", *words)
    for grid in "rs":
        for cell in Path("card/regrow", grid).glob("regrow_*"):
            same(f"regrow/{grid}/{cell.name}")


def test_a_run_goes_on_from_its_checkpoint(command, monkeypatch):
    from Utils.training.phase import Training

    words = [*DATA, "--post-epochs", "3", "--pruner", "snip", "--checkpoint-every", "1", "--optimizer", "adam", "--expid", "x"]
    use_one_layout(monkeypatch)
    assert command(*words, "--result-dir", "whole", "--no-cuda").status == 0
    whole = Training._next

    def broken(self, model, epoch, epochs):
        if epoch == 2:
            raise KeyboardInterrupt
        whole(self, model, epoch, epochs)

    with card():
        with monkeypatch.context() as patched:
            patched.setattr(Training, "_next", broken)
            assert command(*words).status == 130
        done = command(*words)
    assert done.status == 0 and "Going on after epoch 1" in done.out
    assert not differences(results(Path("whole/singleshot/x")), results(SHOT / "x"))


def test_a_card_of_its_own_is_all_that_a_run_touches(command):
    with card(count=3) as state:
        assert command(*DATA, "--gpu", "2", "--no-save").status == 0
        assert state.touched == {2}
        done = command(*DATA, "--gpu", "3", "--no-save")
        assert done.status == 2 and "--gpu 3: there are 3 CUDA devices, numbered from 0" in done.err
        assert command(*DATA, "--pruner-list", "rand", "snip", "--dry-run").status == 0


def test_statistics_that_are_reset_too_early_would_be_seen():
    """What killed every run on a card: this test fails where the pretended card is more patient than CUDA."""
    with card(), pytest.raises(RuntimeError, match="Invalid device argument"):
        torch.cuda.reset_peak_memory_stats(CARD)
    with card():
        from Utils.compute.clock import Clock

        with Clock(CARD)("data"):
            pass


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda t: t + torch.ones(3), "same device"), (lambda t: torch.ones(3)[t.long()], "same device"), (lambda t: t.numpy(), "numpy"),
])  # fmt: skip
def test_the_pretended_card_has_cudas_rules(wrong, message):
    with card():
        on_card = torch.zeros(3).to(CARD)
        assert isinstance(on_card, OnCard) and on_card.device == CARD and on_card.cpu().device.type == "cpu"
        assert (on_card + 1).tolist() == [1, 1, 1] and on_card[torch.tensor([0])].device == CARD
        with pytest.raises((RuntimeError, TypeError), match=message):
            wrong(on_card)


def test_images_are_resized_as_on_the_cpu():
    images = torch.randint(0, 256, (8, 3, 9, 9), dtype=torch.uint8)
    labels = torch.arange(8)
    rest = ((0.5,) * 3, (0.2,) * 3, "crop-flip", (14, 14))
    plain = list(TensorSplit(images, labels, *rest).train_batches(3, 1, "post_train", 1))
    with card():
        split = TensorSplit(images.to(CARD), labels.to(CARD), *rest)
        for (x, y), (u, v) in zip(plain, split.train_batches(3, 1, "post_train", 1), strict=True):
            assert torch.equal(x, u.cpu()) and torch.equal(y, v.cpu())


@pytest.mark.parametrize("augment", ["none", "crop-flip", "imagenet"])
def test_large_images_are_moved_on_the_card_as_in_the_processes(augment):
    """Both cut the same parts of the same images, and the card reads nothing back."""
    from pretend import Card
    from test_large_images import Gradients

    from Utils.data.large_images import LoaderSplit
    from Utils.data.reader import Reader

    def batches(device):
        split = LoaderSplit(Reader([Gradients()], 72, 0, device), 0, torch.arange(16), augment)
        split.set_statistics((0.4,) * 3, (0.2,) * 3)
        return list(split.train_batches(5, 1, "post_train", 1)) + list(split.plain_batches(9))

    plain = batches("cpu")
    with card():
        Card.reads.clear()
        moved = batches(CARD)
        assert not Card.reads
        for (x, y), (u, v) in zip(plain, moved, strict=True):
            assert u.device == v.device == CARD and torch.equal(x, u.cpu()) and torch.equal(y, v.cpu())


def test_data_are_read_once_for_all_devices(monkeypatch):
    from Utils.data import synthetic
    from Utils.data.open_set import Datasets
    from Utils.options.command_line import parse

    reads, make = [], synthetic.make_synthetic
    monkeypatch.setattr(synthetic, "make_synthetic", lambda *words: reads.append(1) or make(*words))
    with card():
        datasets, options = Datasets(), parse(DATA)
        plain, there = (datasets.open(options, device) for device in (torch.device("cpu"), CARD))
        assert datasets.open(options, CARD) is there
        for (x, y), (u, v) in zip(there.test_batches(4), plain.test_batches(4), strict=True):
            assert x.device == y.device == CARD and torch.equal(x.cpu(), u) and torch.equal(y.cpu(), v)
        assert len(reads) == 1 and (there.mean, there.std) == (plain.mean, plain.std)


def test_an_epoch_reads_nothing_back_from_the_card():
    from pretend import Card

    from Models import registry
    from Models.masking import hold_masks
    from Utils.training.loops import test_sums, train_epoch
    from Utils.training.optimizers import make_optimizer

    with card():
        model = registry.build("resnet20", "lottery", (3, 8, 8), 10)
        prunables = add_masks(model)
        model.to(CARD)
        apply_masks(prunables)
        optimizer = make_optimizer(model, "adam", 0.001, 0.0)
        hold_masks(optimizer, prunables)
        split = TensorSplit(torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8).to(CARD), (torch.arange(12) % 10).to(CARD), (0.5,) * 3,
                            (0.2,) * 3, "crop-flip")  # fmt: skip
        for epoch in (1, 2):
            Card.reads.clear()
            train_epoch(model, optimizer, split.train_batches(4, 1, "post_train", epoch))
            test_sums(model, split.plain_batches(4))
        assert not Card.reads  # the first epoch asks each shortcut once whether it is all ones
