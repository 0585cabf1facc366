"""Scales of a report's figures: readable ticks on logarithmic axes, and no panel that one value flattens unsaid."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from Utils.figures.accuracy import accuracy_figure, compression_figure, flops_accuracy_figure
from Utils.figures.layer_density import density_heatmap, layer_bars
from Utils.figures.scales import log_text, log_ticks, main_range
from Utils.figures.training_curves import curves_figure

FIVE = ["rand", "mag", "snip", "grasp", "synflow"]


def runs(column: str, values: list[float]) -> pd.DataFrame:
    """A dense network and five methods at two compressions, with these eleven numbers."""
    cells = [("dense", 0.0), *((method, compression) for compression in (0.5, 1.0) for method in FIVE)]
    table = pd.DataFrame(cells, columns=["pruner", "compression"]).assign(seed=1, flops_ratio=0.3)
    return table.assign(**{column: values})


def labels(axis) -> list[str]:
    return [text.get_text() for text in axis.get_ticklabels() if text.get_text()]


def test_few_ticks_are_plain_numbers():
    assert log_ticks(0.15, 1.2) == [0.2, 0.5, 1] and log_ticks(0.9, 1100) == [1, 10, 100, 1000] and log_ticks(0.95, 10.5) == [1, 2, 5, 10]
    assert [log_text(v) for v in (0.2, 1, 0.0001, 20_000, 1e6, 2e7, 3e-5)] == [
        "0.2", "1", "0.0001", "20,000", "$10^{6}$", "$2\\cdot10^{7}$", "$3\\cdot10^{-5}$",
    ]  # fmt: skip
    shares = compression_figure(runs("flops_ratio", [1, *[0.4] * 5, *[0.15] * 5]), "flops_ratio", "t", "share", log=True)
    assert labels(shares.axes[0].yaxis) == ["0.2", "0.5", "1"]
    assert labels(layer_bars(pd.DataFrame({"snip": [2e5, 9e5]}, ["a", "b"]), "t", "MACs").axes[0].xaxis) == ["100,000", "200,000", "500,000"]


def test_the_colours_of_a_heat_map_span_its_own_densities():
    for lowest, wanted in ((0.149, ["0.1", "0.2", "0.5", "1"]), (0.0034, ["0.001", "0.01", "0.1", "1"]), (0, ["0.1", "0.2", "0.5", "1"])):
        bar = density_heatmap(pd.DataFrame({"snip": [lowest, 0.9]}, ["a", "b"]), "t").axes[1]
        assert labels(bar.yaxis) == wanted


@pytest.mark.parametrize(("values", "found"), [
    ([90, 91, 92, 93, 10], (90, 93)), ([1, 1.1, 1.2, 1.15, 9], (1, 1.2)), ([90, 91, 92, 75], None), ([90, 91, 10, 11], None), ([5], None),
    ([5, 5, 5, 5], None), ([5, 5, 5, 5, 6], None), ([5, 5, 5, 5, 7], (5, 5)), ([1, math.nan, 1.1, 1.2, 1, 50], (1, 1.2)),
])  # fmt: skip
def test_few_values_far_from_all_others_do_not_count(values, found):
    assert main_range(values) == found


def test_a_collapsed_method_does_not_flatten_the_accuracies():
    values = [96.0, 95, 96, 95.5, 94, 95, 94, 95.2, 94.4, 10.2, 94]
    for figure in (accuracy_figure(runs("accuracy", values), "t"), flops_accuracy_figure(runs("accuracy", values), "t")):
        low, high = figure.axes[0].get_ylim()
        assert 93 < low < 94 and 96 < high < 97
        assert figure.axes[0].get_xlabel().endswith("The axis is cut; below it: grasp, α = 1 (10.2)")
    many = accuracy_figure(runs("accuracy", [96.0, *[95] * 5, *[10] * 5]), "t").axes[0]
    assert many.get_ylim()[0] < 10 and "cut" not in many.get_xlabel()
    high = accuracy_figure(runs("accuracy", [10.0, *[10.5] * 9, 95]), "t").axes[0]  # the one that learns is shown
    assert high.get_ylim()[1] > 95


def test_one_slow_run_does_not_flatten_the_times():
    axes = compression_figure(runs("seconds", [1.0, *[1.1] * 5, *[1.2] * 4, 9]), "seconds", "t", "s").axes[0]
    assert "The lines of rand, mag, snip, grasp, synflow lie" not in axes.get_xlabel()
    assert axes.get_ylim() == (0, pytest.approx(1.06 * 1.2)) and axes.get_xlabel().endswith("above it: synflow, α = 1 (9)")


def test_lines_that_hide_each_other_are_named():
    shares = runs("flops_ratio", [1, *[0.4] * 5, 0.15, 0.15, 0.15, 0.1, 0.2])
    label = compression_figure(shares, "flops_ratio", "t", "share", log=True).axes[0].get_xlabel()
    assert label.endswith("The lines of rand, mag, snip lie on each other")


def test_an_untrained_loss_does_not_flatten_the_curves():
    rows = [(m, 1, e, np.nan if e == 0 else 1.0, 2.0 - 0.3 * e, 50.0) for m in FIVE for e in range(4)]
    table = pd.DataFrame(rows, columns=["pruner", "seed", "epoch", "train_loss", "test_loss", "top1_accuracy"])
    table.loc[(table["pruner"] == "grasp") & (table["epoch"] == 0), "test_loss"] = 3e12
    axes = curves_figure(table, "t").axes[1]
    assert axes.get_yscale() == "linear" and axes.get_ylim()[1] < 2.2 and axes.get_ylabel() == "test loss"
    assert curves_figure(table.assign(train_loss=[0.1, 2.0] * 10), "t").axes[0].get_ylabel() == "train loss (log axis)"
    assert axes.get_xlabel() == "The axis is cut; above it: grasp, epoch 0 (3e+12)"


def test_no_name_of_a_legend_stands_alone_on_its_line():
    figure = accuracy_figure(runs("accuracy", [90.0 + i for i in range(11)]), "t")
    assert len(figure.legends[0].get_texts()) == 6 and figure.legends[0]._ncols == 3
