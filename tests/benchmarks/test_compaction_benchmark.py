"""The benchmark "compact against dense" does the same work on both sides, and its text says what was measured."""

from __future__ import annotations

import copy
import statistics
from functools import cache

import pytest
import torch
from torch import nn

from benchmarks import compaction, report
from Models.difference import largest_difference
from Models.masking import add_masks, hold_masks
from Utils.training.loops import train_epoch
from Utils.training.optimizers import make_optimizer

LAYOUTS = list(compaction.FORMATS.values())


@cache
def networks():
    return compaction.prepare(0.02, name="vgg11-bn", rounds=5)


def with_statistics(model):
    """A copy whose norms have statistics, scales and shifts as after training."""
    model, draws = copy.deepcopy(model), torch.Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.2, 0.6, generator=draws)
    return model


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", ["dense", "small"])
def test_folding_keeps_the_function(side, layout):
    plain = with_statistics(getattr(networks(), side))
    before, training = copy.deepcopy(plain.state_dict()), plain.training
    images = compaction.batch_of(6)[0]
    scores = compaction.inference(plain, layout, images)()
    assert plain.training == training and all(torch.equal(t, before[n]) for n, t in plain.state_dict().items())
    with torch.no_grad():
        assert relative(scores, plain.eval()(images)) < 1e-5
    fast = compaction.folded(plain)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fast.modules())
    assert {n.target for n in fast.graph.nodes if "relu" in str(n.target)} == {torch.relu_}


def test_the_compact_network_is_the_masked_one():
    made = networks()
    assert largest_difference(made.masked, made.small, compaction.batch_of(4)[0]) < 1e-9
    assert 0 < made.macs < 0.9
    masks = [p.mask for p in add_masks(made.masked)]
    kept = sum(int(mask.sum()) for mask in masks)
    assert kept == round(0.02 * sum(mask.numel() for mask in masks))
    assert all(torch.equal(p, q * m) for p, q, m in weights(made.masked, made.dense))


def weights(masked, dense):
    """Of every masked weight: as it is, as it was in the dense network, and its mask."""
    return [(p.weight, dense.get_parameter(p.name), p.mask) for p in add_masks(masked)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("side", "original"), [("dense", "dense"), ("small", "masked")])
def test_the_steps_are_the_runners(side, original, layout):
    """Of the masked network for the compact one; in float64, but for the scores, which the runner makes float32."""
    made, (images, labels) = networks(), compaction.batch_of(16)
    model = copy.deepcopy(getattr(made, original)).double()
    optimizer = make_optimizer(model, "adam", 0.001, 0.0)
    hold_masks(optimizer, add_masks(model))
    small, prunables = copy.deepcopy((getattr(made, side), made.prunables if side == "small" else []))
    step = compaction.training(small.double(), prunables, layout, images.double(), labels)
    for _ in range(2):
        assert float(step()) == pytest.approx(float(train_epoch(model, optimizer, [(images.double(), labels)])), rel=1e-6)


def test_a_measurement():
    rows = {
        "inference": compaction.Row(0.02, "inference", 4, 2, 1),
        "training": compaction.Row(0.02, "training", 4, 3, 2),
    }
    entries = compaction.measure(2, rows, name="vgg11-bn", rounds=5)
    for name, entry in entries.items():
        assert entry["title"] == rows[name].title and entry["target"] == rows[name].target
        assert entry["difference"] < compaction.TOLERANCE
        assert all(len(s) == 2 and min(s) > 0 for side in entry["seconds"].values() for s in side.values())
    check(entries, 2)


def check(entries, repeats):
    for entry in entries.values():
        assert set(entry["medians"]) == set(compaction.SIDES)
        for side, formats in entry["medians"].items():
            assert set(formats) == set(compaction.FORMATS)
            for name, median in formats.items():
                seconds = entry["seconds"][side][name]
                assert len(seconds) == repeats and median == pytest.approx(1000 * statistics.median(seconds))


def test_the_better_format_counts():
    medians = {"compact": {"contiguous": 30.0, "channels last": 20.0}, "dense": {"contiguous": 70.0, "channels last": 80.0}}
    row = {"title": "a step", "unit": "ms", "target": 3, "medians": medians, "macs": 0.1234}
    assert report.compact_line(row) == "| a step | 30 ms | 20 ms | 70 ms | 80 ms | 12.3 % | 3.50 | 3 |"


def test_the_rows_go_beside_the_others(tmp_path):
    before = report.load()
    for part in ("compaction", "compiled"):
        before.pop(part, None)
    report.write(before, tmp_path)
    old = (tmp_path / "results.md").read_text()
    medians = {side: {name: 10.0 for name in compaction.FORMATS} for side in compaction.SIDES}
    row = {"title": "a step", "unit": "ms", "target": 3, "medians": medians, "macs": 0.5}
    part = {"machine": "a machine", "repeats": 9, "rows": {"training": row}}
    report.put(part, "compaction", tmp_path)
    assert report.load(tmp_path) == before | {"compaction": part}
    text = (tmp_path / "results.md").read_text()
    assert text.startswith(old) and text.splitlines()[-1] == report.compact_line(row)
    assert "## Compact against dense" in text and "Medians of 9 turns; a machine." in text


def test_the_results_are_of_these_rows():
    part = report.load()["compaction"]
    assert {name: row["target"] for name, row in part["rows"].items()} == {n: r.target for n, r in compaction.ROWS.items()}
    assert all(row["title"] == compaction.ROWS[name].title for name, row in part["rows"].items())
    assert all(row["difference"] <= compaction.TOLERANCE for row in part["rows"].values())
    assert part["repeats"] >= 5
    check(part["rows"], part["repeats"])
