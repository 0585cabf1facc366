"""Mixed beside full precision: measured in turn, on copies, at the end of a run in mixed precision and later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from Models.masking import add_masks
from tests.graph_stand_in import Recorded
from Utils.base.errors import Refused
from Utils.compute import graphs
from Utils.compute.precision import Precision
from Utils.data.open_set import open_dataset
from Utils.measure.inference_time import WARM_UP
from Utils.options.types import Options
from Utils.runs import outputs
from Utils.training import precision_pairs
from Utils.training.masked_network import MaskedNetwork
from Utils.training.precision_pairs import compare_precisions

CPU = torch.device("cpu")
MIXED = "mixed: bfloat16 and float32"
NET = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--pruner", "snip", "--compression", "0.5", "--post-epochs", "1"]
FOLDER = Path("Results/data/singleshot/x")


def network(**options):
    data = open_dataset("synthetic:1x6x6:3:90")
    data.load()
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(36, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Dropout(0.5), nn.Linear(20, 3)]
    model = nn.Sequential(*layers)
    options = Options(**{"train_batch_size": 16, "test_batch_size": 8} | options)
    return MaskedNetwork(model, add_masks(model), data, CPU, options, Precision.of(options, CPU))


@pytest.mark.parametrize("options", [{}, {"quantization": True}, {"precision": "bf16", "optimizer": "momentum", "weight_decay": 0.1}])
def test_nothing_of_the_network_or_of_random_numbers_changes(options):
    own = network(**options)
    before, state = own.cloned_state(), torch.get_rng_state()
    found = compare_precisions(own)
    assert torch.equal(torch.get_rng_state(), state) and own.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.model.state_dict().items())
    assert all(p.grad is None for p in own.model.parameters())
    assert (found["full"], found["mixed"], found["train"]["batch_size"], found["inference"]["batch_size"]) == ("float32", MIXED, 16, 8)
    for part in (found["train"], found["inference"]):
        assert 6 <= part["pairs"] <= 100 and all(0 < part[name]["q1"] <= part[name]["median"] <= part[name]["q3"]
                                                for name in ("ratio", "full_seconds", "mixed_seconds"))  # fmt: skip
    assert set(found["load"]) == {"start", "end"}


def test_steps_and_passes_take_turns_in_both_precisions_on_one_batch(monkeypatch):
    seen, laps = [], iter(([1.0, 2.0], [2.0, 8.0], [4.0, 4.0], [1.0, 3.0]))

    class Step:
        def __init__(self, model, optimizer, batches, *, precision, graphs):
            self.facts = (str(precision), len(batches), batches[0][0].sum().item(), optimizer.param_groups[0]["lr"])

        def alone(self):
            seen.append(self.facts)

    def interleaved(calls, images, device, repeats, enough):
        for call in calls.values():
            call(images)
        return {name: next(laps) for name in calls}

    monkeypatch.setattr(precision_pairs, "TrainingPass", Step)
    monkeypatch.setattr(precision_pairs, "interleaved", interleaved)
    found = compare_precisions(network())
    (full, *one), (mixed, *other) = seen
    assert (full, mixed) == ("float32", MIXED) and one == other and one[0] == 1 and one[2] == 0.0
    assert found["train"]["ratio"] == {"median": 3.0, "q1": 2.5, "q3": 3.5} and found["train"]["pairs"] == 2
    assert found["inference"]["ratio"]["median"] == 0.5 and found["inference"]["full_seconds"]["median"] == 4.0


def test_where_steps_are_replayed_both_precisions_are(monkeypatch):
    """As on a card, each by a graph of its own copy."""
    monkeypatch.setattr(graphs, "Capture", Recorded)
    monkeypatch.setattr(graphs, "can_capture", lambda device: True)
    monkeypatch.setattr(Recorded, "made", [])
    monkeypatch.setattr(precision_pairs, "PAIRS", 6)
    own = network()
    own.model[4] = nn.Identity()  # dropout draws on the processor
    before = own.cloned_state()
    found = compare_precisions(own)
    assert len(Recorded.made) == 2 and {capture.replays for capture in Recorded.made} == {WARM_UP + 6 - graphs.WARM_UP}
    assert found["train"]["pairs"] == 6 and all(torch.equal(t, before[n]) for n, t in own.model.state_dict().items())


def test_a_network_that_was_not_trained_has_no_precision_of_training():
    own = network()
    with pytest.raises(Refused, match="--compare-precision: prune trains no network"):
        compare_precisions(replace(own, options=replace(own.options, experiment="prune")))


def test_a_run_in_mixed_precision_and_any_saved_run_later(command):
    first = command(*NET, "--quantization", "--expid", "x")
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert summary["precision_pairs"]["train"]["pairs"] >= 6 and "Precision, mixed" in first.out
    assert "a training step: " in command(*NET, "--quantization", "--expid", "x").out
    grid = [*NET[:4], "--pruner-list", "snip", "--compression", "0.5", "--post-epochs", "1", "--expid", "g"]
    assert command(*grid).status == 0
    (cell,) = (FOLDER.parent / "g").glob("pruner=snip*")
    assert "precision_pairs" not in json.loads((cell / "summary.json").read_text())
    before = {path: path.read_bytes() for path in cell.iterdir()}
    done = command("--experiment", "time", "--run", cell, "--compare-precision")
    pairs = json.loads((cell / "time.json").read_text())["precision_pairs"]
    row = pd.read_csv(FOLDER.parent / "g" / "grid.csv").set_index("cell").loc[cell.name]
    assert done.status == 0 and "Precision, mixed" in done.out and row["precision_pairs_train_ratio_median"] == pairs["train"]["ratio"]["median"]
    again = command("--experiment", "time", "--run", cell)
    assert again.status == 0 and json.loads((cell / "time.json").read_text())["precision_pairs"] == pairs  # it stays
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "manifest.json")


def test_a_comparison_that_fails_costs_no_run(command, monkeypatch):
    def full(*_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(outputs, "compare_precisions", full)
    done = command(*NET, "--quantization", "--expid", "x")
    assert done.status == 0 and "NOTE: the precisions cannot be compared: RuntimeError: CUDA out of memory" in done.out
    assert "precision_pairs" not in json.loads((FOLDER / "summary.json").read_text())
    assert command(*NET, "--no-save").status == 0  # full precision is compared with nothing
