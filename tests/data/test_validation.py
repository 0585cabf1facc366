"""The validation split, early stopping and the choice of the best state."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from killed import killed
from trees import make_tree

from Models import registry
from Models.masking import add_masks
from tests.crash.numbers import numbers, same
from Utils.base.errors import Refused
from Utils.compute.clock import Clock
from Utils.compute.precision import Precision
from Utils.data.held_out import draw_held_out
from Utils.data.open_set import open_dataset
from Utils.data.sharding import IGNORED
from Utils.options.types import Options
from Utils.runs.dense_cache import _untrained as untrained
from Utils.runs.dense_cache import copied
from Utils.runs.printing import _kept_epochs as kept_epochs
from Utils.training.early_stopping import best_index, best_row, is_over, kept_row
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Training

CPU = torch.device("cpu")
SMALL = ["--dataset", "synthetic:1x8x8:3:90", "--model", "fc", "--pruner", "mag", "--compression", "0.5"]


def numbered(count):
    """A set of `count` training images, each filled with its own number."""
    data = open_dataset(f"synthetic:1x6x6:2:{count}", augment="crop-flip")
    data.load()
    data._train.images[:] = torch.arange(count, dtype=torch.uint8)[:, None, None, None]
    data._train.labels[:] = torch.arange(count)
    return data


def hold_out(data, fraction, seed):
    return data.without(draw_held_out(data.train_size, fraction, seed))


def labels(batches):
    return torch.cat([y for _, y in batches])


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 200), st.floats(0.01, 0.99), st.integers(0, 9), st.integers(1, 40))
def test_training_and_validation_images_are_a_partition(count, fraction, seed, batch_size):
    data = numbered(count)
    held = round(fraction * count)
    if held in (0, count):
        with pytest.raises(Refused, match=f"holds out {held} of the {count} training images"):
            hold_out(data, fraction, seed)
        return
    part = hold_out(data, fraction, seed)
    trained, validated = (labels(b) for b in (part.train_batches(batch_size, seed, "p", 1), part.val_batches(batch_size)))
    assert torch.equal(validated, part.val_indices) and len(validated) == part.val_size == held
    assert sorted([*trained.tolist(), *validated.tolist()]) == list(range(count)) and len(trained) == part.train_size
    assert sorted(part.train_labels.tolist()) == sorted(data.train_labels[trained].tolist())
    again = hold_out(data, fraction, seed)
    assert torch.equal(again.train_labels, part.train_labels)  # of a set that has been read
    assert torch.equal(again.val_indices, part.val_indices)


def test_the_split_is_the_seeds_and_the_images_are_not_varied():
    data = numbered(100)
    a, b = hold_out(data, 0.2, 1), hold_out(data, 0.2, 2)
    assert not torch.equal(a.val_indices, b.val_indices) and data.val_size == 0
    images, named = next(a.val_batches(20))
    plain = data.subset_batches(named, 20)[0][0]
    assert torch.equal(images, plain)
    with pytest.raises(ValueError, match="no training images are held out"):
        data.val_batches(3)


def test_shares_of_both_parts_are_those_of_one_process():
    part = hold_out(numbered(67), 0.3, 1)
    key = (7, 1, "p", 2)
    shares = [list(part.train_batches(*key, (rank, 3))) for rank in range(3)]
    for (images, named), *parts in zip(part.train_batches(*key), *shares, strict=True):
        assert torch.equal(torch.cat([y[y != IGNORED] for _, y in parts]), named)
        assert torch.equal(torch.cat([x[y != IGNORED] for x, y in parts]), images)
    assert torch.equal(torch.cat([labels(part.val_batches(4, (rank, 3))) for rank in range(3)]), part.val_indices)


def test_large_images_are_held_out_too(tmp_path):
    """Those that are read from disk anew in each epoch."""
    root = make_tree(tmp_path / "images", classes=("ant", "bee", "cat"), size=(72, 72))
    part = hold_out(open_dataset(f"folder:{root}", augment="crop-flip", image_size=72, workers=0), 0.3, 1)
    images, named = next(part.val_batches(9))
    assert images.shape == (3, 3, 72, 72) and part.train_size == 6 and not hasattr(part._train, "images")
    plain, again = part.subset_batches(part.val_indices, 9)[0]
    assert torch.equal(images, plain) and torch.equal(named, again)
    trained = sorted(labels(part.train_batches(4, 1, "p", 1)).tolist() + named.tolist())
    assert trained == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_scoring_images_are_those_of_the_whole_set_without_the_held_out_ones():
    """The draw is the same, so that the weights drawn after it are those of the seed whatever is held out."""
    data = numbered(100)
    part = hold_out(data, 0.3, 1)
    torch.manual_seed(5)
    whole, after = data.scoring_subset(100), torch.rand(3)
    torch.manual_seed(5)
    subset = part.scoring_subset(30)
    assert torch.equal(torch.rand(3), after)
    held = set(part.val_indices.tolist())
    assert subset.tolist() == [i for i in whole.tolist() if i not in held][:30]


def test_patience_by_hand():
    assert best_index([1.0, 3.0, 2.0, 3.0]) == 1
    assert not is_over([1.0, 3.0, 2.0], 2) and is_over([1.0, 3.0, 2.0, 3.0], 2) and not is_over([], 1) and not is_over([3.0, 1.0], None)
    rows = pd.DataFrame({"epoch": [0, 1, 2], "val_top1": [1.0, 3.0, 2.0]})
    assert kept_row(rows, 5)["epoch"] == 1 and kept_row(rows, None)["epoch"] == 2


def test_the_network_before_training_is_kept_only_if_nothing_was_trained():
    assert [best_index(tops) for tops in ([7.0], [7.0, 1.0], [7.0, 1.0, 2.0], [7.0, 2.0, 2.0])] == [0, 1, 2, 1]
    assert not is_over([7.0], 1) and not is_over([7.0, 1.0], 1) and is_over([7.0, 2.0, 1.0], 1) and not is_over([7.0, 2.0, 1.0], 2)
    rows = pd.DataFrame({"epoch": [0, 1, 2], "val_top1": [7.0, 1.0, 2.0], "top1_accuracy": [8.0, 6.0, 5.0]})
    assert kept_row(rows, 5)["epoch"] == best_row(rows)["epoch"] == 2 and best_row(rows.drop(columns="val_top1"))["epoch"] == 1
    assert kept_row(rows, 5, kept=0)["epoch"] == kept_row(rows[:1], 5)["epoch"] == 0  # a recorded choice of an earlier version stays


def test_a_half_phase_that_kept_the_network_before_training_begins_again():
    """A checkpoint of an earlier version has no other state; the phase ends as one that was never interrupted."""
    options, found = Options(val_fraction=0.2, patience=5), []
    data = hold_out(open_dataset("synthetic:1x8x8:3:90"), 0.2, 1)
    data.load()
    for earlier in (False, True):
        torch.manual_seed(1)
        model = registry.build("fc", "default", (1, 8, 8), 3)
        network = MaskedNetwork(model, add_masks(model), data, CPU, options, Precision(CPU))
        training = Training(network, "post_train", Clock(CPU), epochs=3)
        if earlier:
            begun = {name: tensor.clone() for name, tensor in network.model.state_dict().items()}
            training.run(2, whole=False)
            rows = [(0, *training.rows[0][1:-1], 100.0), *training.rows[1:]]
            state = copied(training.state()) | {"rows": rows, "best": begun}
            del state["trained"]
            training = Training(network, "post_train", Clock(CPU), epochs=3)
            training.restore(state)
            assert len(training.rows) == 1
        found.append(training.run(3).drop(columns="seconds"))
    pd.testing.assert_frame_equal(found[0][1:], found[1][1:])


def test_epochs_that_an_earlier_version_kept_stay_as_they_are():
    pre = pd.DataFrame({"epoch": [0, 1, 2], "val_top1": [7.0, 1.0, 2.0]})
    assert kept_epochs({"kept_epoch": 0}, pre) == (0, 0) and kept_epochs({"kept_epoch": 1, "dense_kept_epoch": 2}, pre) == (2, 1)


def test_a_cached_dense_network_that_was_never_trained_is_trained_again():
    """An earlier version could keep it with `--patience`."""
    layer = torch.nn.Linear(2, 2)
    for patience, change, expected in ((3, 0.0, True), (3, 1.0, False), (None, 0.0, False)):
        network = MaskedNetwork(layer, add_masks(layer), None, CPU, Options(patience=patience), Precision(CPU))
        assert untrained(network, {"weight": layer.weight.detach() + change}) is expected


def run(command, name, *words, experiment="singleshot"):
    done = command(*SMALL, "--expid", name, *words)
    assert done.status == 0, done.err
    return Path("Results/data", experiment, name)


def test_columns_appear_only_where_images_are_held_out(command):
    """And the weights drawn stay those of the seed."""
    plain, held = run(command, "plain", "--post-epochs", "2"), run(command, "held", "--post-epochs", "2", "--val-fraction", "0.2")
    a, b = (pd.read_csv(f / "post-train.csv") for f in (plain, held))
    assert [*a.columns, "val_loss", "val_top1"] == [*b.columns] and b["val_top1"].notna().all() and len(b) == 3
    assert a["test_loss"][0] == b["test_loss"][0] and a["test_loss"][2] != b["test_loss"][2]
    states = [torch.load(f / "initial.pt", weights_only=True) for f in (plain, held)]
    assert all(torch.equal(t, states[1][k]) for k, t in states[0].items())
    summary = json.loads((held / "summary.json").read_text())
    assert summary["val_top1_last"] == b["val_top1"][2] and summary["kept_epoch"] == summary["epochs_trained"] == 2
    assert summary["top1_best"] == b["top1_accuracy"][b["val_top1"][1:].idxmax()]
    other = run(command, "other", "--post-epochs", "2", "--val-fraction", "0.2", "--pruner", "rand")
    assert (pd.read_csv(other / "pre-train.csv")["val_loss"] == pd.read_csv(held / "pre-train.csv")["val_loss"]).all()


STOPPING = ["--val-fraction", "0.2", "--patience", "2", "--lr", "0.05", "--pre-epochs", "30", "--post-epochs", "30"]


def test_early_stopping_keeps_the_best_state(command):
    folder = run(command, "x", *STOPPING)
    rows, summary = pd.read_csv(folder / "post-train.csv"), json.loads((folder / "summary.json").read_text())
    best = int(rows["val_top1"][1:].idxmax())  # the pruned network itself is no epoch, though nothing is better here
    assert len(rows) == best + 3 < 31 and summary["kept_epoch"] == best and summary["top1_last"] == rows["top1_accuracy"][best]
    assert summary["best_epoch"] == best and summary["epochs_trained"] == best + 2
    tested = command("--experiment", "evaluate", "--run", folder)
    lines = [line.partition(": ")[2] for line in tested.out.splitlines()]
    assert lines[0] == lines[1]
    again = run(command, "again", *STOPPING[:-1], str(best))  # the state itself, from a phase that ends there
    states = [torch.load(f / "model.pt", weights_only=True) for f in (folder, again)]
    assert all(torch.equal(t, states[1][k]) for k, t in states[0].items())
    shown = command(*SMALL, "--expid", "x", *STOPPING)
    assert "Already done" in shown.out and f"The network is that of epoch {best}" in shown.out


def test_a_killed_run_stops_at_the_same_epoch(command):
    words = [*SMALL, *STOPPING, "--checkpoint-every", "1"]
    assert command(*words, "--expid", "x", "--result-dir", "elsewhere").status == 0
    whole = Path("elsewhere/singleshot/x")
    epochs = [int(pd.read_csv(whole / f"{phase}-train.csv")["epoch"].iloc[-1]) for phase in ("pre", "post")]
    killed([*words, "--expid", "x"], epochs[0] - 1)
    killed([*words, "--expid", "x"], epochs[1])  # one dense epoch was left
    assert "Going on after epoch" in command(*words, "--expid", "x").out
    same(numbers(whole), numbers(Path("Results/data/singleshot/x")))


def test_levels_stop_each_by_itself(command):
    """And the next level is pruned from the best state; a kill changes nothing."""
    words = ["--experiment", "multishot", *SMALL, *STOPPING, "--level-list", "2", "--no-rewind", "--checkpoint-every", "1", "--expid", "m"]
    assert command(*words, "--result-dir", "elsewhere").status == 0
    whole = Path("elsewhere/multishot/m/level=2")
    levels = pd.read_csv(whole / "levels.csv")
    assert (levels["kept_epoch"] == levels["epochs"] - 2).all() and (levels["epochs"] < 30).all()
    rows = [pd.read_csv(file) for file in (whole.with_name("pruner=dense") / "post-train.csv", whole / "pre-train.csv")]
    trained = [int(rows[0]["epoch"].iloc[-1]), *rows[1].groupby("level")["epoch"].max()]
    killed(words, sum(trained) + 1)  # the dense network and the baseline's fine-tuning, all of level 1, an epoch of level 2
    assert command(*words).status == 0
    same(numbers(whole), numbers(Path("Results/data/multishot/m/level=2")))


@pytest.mark.parametrize(("words", "parts"), [
    (["--patience", "3"], ["--patience 3", "--val-fraction"]), (["--val-fraction", "1"], ["--val-fraction", "below 1"]),
    (["--dataset", "synthetic:1x8x8:3:60", "--val-fraction", "0.001"], ["--val-fraction 0.001", "0 of the 60"]),
    (["--experiment", "prune", "--val-fraction", "0.1"], ["--val-fraction", "prune"]),
])  # fmt: skip
def test_refusals(refused, words, parts):
    refused(words, *parts)
