"""Stages of a run: results and half states in a checkpoint."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch import nn

from Models.masking import add_masks
from Utils.compute.precision import Precision
from Utils.data.open_set import open_dataset
from Utils.runs import stages as stages_module
from Utils.runs.cache import CacheEntry
from Utils.runs.stages import Stages
from Utils.training.masked_network import MaskedNetwork

TABLE = pd.DataFrame({"epoch": [0, 1], "loss": [float("nan"), 0.1], "name": ["a", "7"], "kept": [True, False]})


@pytest.fixture
def store(tmp_path):
    return CacheEntry(tmp_path / "x.bin")


def never():
    raise AssertionError("this stage was done before")


def test_results_are_kept_with_their_types(store):
    table = TABLE.assign(units=pd.array([None, 3], dtype="Int64"))
    made = Stages(store, 1).once("a", lambda: [table, {"n": [1, None, 2.5], "t": torch.arange(3)}])
    assert made[0] is table
    again = Stages(store, 1).once("a", never)
    pd.testing.assert_frame_equal(again[0], table, check_exact=True)
    assert again[1]["n"] == [1, None, 2.5] and again[1]["t"].tolist() == [0, 1, 2]


def test_a_half_state_lasts_until_its_stage_is_done(store):
    stages = Stages(store, 2)
    keep = stages.keeper("search")
    keep(1, never)  # not due
    keep(2, lambda: {"episode": 2})
    later = Stages(store, 2)
    assert later.half("search") == {"episode": 2} and later.half("other") is None and later.last is None
    assert later.once("search", lambda: 5) == 5 and later.last == "search"
    assert Stages(store, 2).half("search") is None and Stages(store, 2).once("search", never) == 5


def test_nothing_is_written_with_checkpoint_every_0(store):
    Stages(store, 0).once("a", lambda: 1)
    Stages(store, 0).keeper("b")(1, never)
    assert store.resume() is None


def test_a_stage_is_written_by_the_same_clocks_as_steps(store, monkeypatch):
    """After two seconds, without those in which its own steps were written, or once ten seconds have passed."""
    clock, written = [0.0], []
    monkeypatch.setattr(stages_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(CacheEntry, "write_checkpoint", lambda self, state: written.append([*state["done"], *state["half"]]))
    stages = Stages(store, None)

    def lasts(seconds):
        clock[0] += seconds

    def search():
        keep = stages.keeper("steps")
        lasts(3)
        keep(1, dict)
        lasts(1)

    stages.once("short", lambda: lasts(1.5))
    stages.once("slow", lambda: lasts(2))
    stages.once("search", search)
    for number in range(6):
        stages.once(f"more-{number}", lambda: lasts(1.5))
    assert [names[-1] for names in written] == ["slow", "steps", "more-5"]


def test_stages_that_change_a_network_are_written_with_its_state(store):
    """Not on their own: without the network, a run that goes on would take a pruning for done that is not in the weights."""
    model = nn.Linear(4, 2)
    cpu = torch.device("cpu")
    network = MaskedNetwork(model, add_masks(model), open_dataset("synthetic:1x2x2:2:8"), cpu, None, Precision(cpu))
    stages = Stages(store, 1, network=network)
    stages.once("prune", lambda: network.prunables[0].mask[0].zero_().sum().item())
    assert store.resume() is None
    stages.keeper("train")(1, lambda: {"model": network.cloned_state()})
    saved = store.resume()
    assert saved["done"] == {"prune": 0.0} and not saved["half"]["train"]["model"]["weight_mask"][0].any()
