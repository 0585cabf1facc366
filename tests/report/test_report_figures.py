"""Figures of a report: what is drawn is what was given, a method looks the same everywhere, and nothing is cut or covered."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.image import imread

import Pruners
from Pruners import DENSE
from Utils.figures.accuracy import accuracy_figure, compression_figure, flops_accuracy_figure
from Utils.figures.conservation import layer_figure
from Utils.figures.layer_density import EMPTY, density_heatmap, density_text, layer_bars
from Utils.figures.scales import log_ticks
from Utils.figures.style import NAMED, REMAINING, draw, in_order, looks
from Utils.figures.training_curves import curves_figure

FIVE = ["rand", "mag", "snip", "grasp", "synflow"]
LONG = "a-method-of-ones-own-with-a-rather-long-name"
TITLE = "Accuracy against compression: resnet20-with-a-long-name, folder:images, 100 epochs, Adam 0.001, batch 64, seeds 1, 2, 3"


def runs(methods=FIVE, compressions=(0.2, 0.5, 1, 1.5, 2, 3), seeds=3, dense=True):
    random, rows = np.random.default_rng(1), []
    for seed in range(seeds):
        cells = [(DENSE, 0.0)] * dense + [(m, c) for m in methods for c in compressions]
        for method, compression in cells:
            collapsed = method == "mag" and compression > 1
            accuracy = 10.0 if collapsed else 90 - 8 * compression + random.normal()
            rows.append((method, compression, seed, accuracy, 10 ** (-0.8 * compression), collapsed, 1 + random.random()))
    return pd.DataFrame(rows, columns=["pruner", "compression", "seed", "accuracy", "flops_ratio", "collapsed", "seconds"])


def curves(methods, epochs, seeds=1):
    random, rows = np.random.default_rng(2), []
    for method, seed, epoch in itertools.product(methods, range(seeds), range(epochs + 1)):
        loss = 2.3 * np.exp(-4 * epoch / epochs) + 0.01 + 0.1 * random.random()
        rows.append((method, seed, epoch, loss if epoch else np.nan, loss + 0.2, 90 - 30 * loss))
    return pd.DataFrame(rows, columns=["pruner", "seed", "epoch", "train_loss", "test_loss", "top1_accuracy"])


def layers(count, methods, name="stage{0}.block{1}.residual_function.conv{1}", largest=1.0):
    values = largest * 10 ** -np.random.default_rng(3).uniform(0, 4.3, (count, len(methods)))
    values[0, 0], values[-1, 0] = largest, 0
    if len(methods) > 1:
        values[:, 1] = np.nan
    return pd.DataFrame(values, [name.format(i // 9, i) for i in range(count)], methods)


def lines(axes, look, marker=None):
    return [line for line in axes.lines if to_hex(line.get_color()) == look.colour.lower() and line.get_marker() == (marker or "None")]


def points(axes, look):
    """The markers of one look, from left to right: (x, y, whether hollow)."""
    found = [(x, y, line.get_markerfacecolor() == "white") for line in lines(axes, look, look.marker) for x, y in line.get_xydata()]
    return sorted(found)


def test_accuracy_draws_means_bands_and_the_dense_start():
    given = pd.DataFrame(
        [("dense", 0.0, s, a, 1.0, False) for s, a in enumerate((90.0, 92.0))]
        + [("snip", 1.0, s, a, 0.2, False) for s, a in enumerate((80.0, 86.0))]
        + [("snip", 2.0, s, a, 0.1 * (s + 1), s == 1) for s, a in enumerate((50.0, 20.0))],
        columns=["pruner", "compression", "seed", "accuracy", "flops_ratio", "collapsed"],
    )
    snip = looks(FIVE)["snip"]
    for figure, xs in ((accuracy_figure(given, "t"), (1, 10, 100)), (flops_accuracy_figure(given, "t"), (1, 0.2, 0.15))):
        axes = figure.axes[0]
        (line,) = lines(axes, snip)
        assert np.allclose(line.get_xydata(), list(zip(xs, (91, 83, 35), strict=True)))
        assert np.allclose(points(axes, snip), sorted([(xs[1], 83, False), (xs[2], 35, True)]))
        assert points(axes, NAMED[DENSE]) == [(1, 91, False)]
        band = next(c for c in axes.collections if c.get_paths()[0].vertices.shape[0] > 5 and to_hex(c.get_facecolor()[0]) == snip.colour.lower())
        edges = {tuple(np.round(vertex, 6)) for path in band.get_paths() for vertex in path.vertices}
        assert edges == {(xs[0], 90), (xs[0], 92), (xs[1], 80), (xs[1], 86), (xs[2], 20), (xs[2], 50)}
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["dense", "snip", "hollow: collapsed", "min to max of 2 seeds"]


def test_the_axis_on_top_is_the_logarithm_of_the_one_below(tmp_path):
    figure = accuracy_figure(runs(), "t")
    draw(figure, tmp_path / "figure.png", "png")
    axes, top = figure.axes[0], figure.axes[0].child_axes[0]
    assert np.allclose(axes.get_xlim(), top.get_xlim())
    labels = {text.get_text(): place for text, place in zip(top.get_xticklabels(), top.get_xticks(), strict=True)}
    assert set(labels) == {"0", "0.5", "1", "1.5", "2", "3"}
    assert all(np.isclose(np.log10(place), float(text)) for text, place in labels.items())
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "10", "100", "1000"]
    shown = flops_accuracy_figure(runs(), "t").axes[0]
    assert shown.xaxis_inverted() and shown.xaxis.get_major_formatter().seq[-1] == "100"


def test_ticks_are_round_numbers_inside_the_axis():
    for low, high in ((0.9, 1100), (5.6, 18), (0.95, 1.7), (1e-4, 1.2), (0.8, 12), (1, 1e12)):
        ticks = log_ticks(low, high)
        assert 3 <= len(ticks) <= 8 and all(low <= tick <= high for tick in ticks) and len({f"{t:.6g}" for t in ticks}) == len(ticks)


def test_a_missing_accuracy_leaves_a_gap_and_other_seeds_count():
    given = runs(["snip"], (1, 2, 3), 2, dense=False)
    given.loc[(given["compression"] == 2) | ((given["compression"] == 1) & (given["seed"] == 0)), "accuracy"] = np.nan
    (line,) = lines(accuracy_figure(given, "t").axes[0], NAMED["snip"])
    left = given.query("compression == 1 and seed == 1")["accuracy"].item()
    assert line.get_ydata()[0] == left and np.isnan(line.get_ydata()[1]) and len(line.get_ydata()) == 3


def test_other_columns_from_zero_or_logarithmic():
    given = runs(["snip"], (1, 2), 1)
    plain = compression_figure(given, "seconds", "t", "s").axes[0]
    assert plain.get_ylim()[0] == 0 and plain.get_ylim()[1] > given["seconds"].max() and plain.get_ylabel() == "s"
    (line,) = lines(plain, NAMED["snip"])
    assert line.get_ydata().tolist() == given["seconds"].tolist()
    assert compression_figure(given.drop(columns="collapsed"), "flops_ratio", "t", "", log=True).axes[0].get_yscale() == "log"
    assert compression_figure(given.assign(seconds=np.nan), "seconds", "t", "s").axes[0].get_ylim() == (0, 1)


def test_curves_draw_means_and_bands_per_epoch():
    given = curves(["dense", "snip"], 4, 2)
    panels = curves_figure(given, "t").axes
    for axes, column in zip(panels, ("train_loss", "test_loss", "top1_accuracy"), strict=True):
        wanted = given[given["pruner"] == "snip"].groupby("epoch")[column].agg(["mean", "min", "max"]).dropna()
        (line,) = lines(axes, NAMED["snip"], "s")
        assert np.allclose(line.get_xydata(), wanted[["mean"]].reset_index()) and len(wanted) == 5 - (column == "train_loss")
        band = next(c for c in axes.collections if to_hex(c.get_facecolor()[0]) == NAMED["snip"].colour.lower())
        heights = np.unique(np.round(np.concatenate([path.vertices[:, 1] for path in band.get_paths()]), 9))
        assert np.allclose(heights, np.unique(np.round(wanted[["min", "max"]].to_numpy(), 9)))
    assert curves_figure(given.assign(test_loss=[1e-3, np.inf] * 10), "t").axes[1].get_yscale() == "linear"
    assert curves_figure(given.assign(test_loss=[1e-3, 50] * 10), "t").axes[1].get_yscale() == "log"


def test_the_heat_map_prints_densities_and_marks_the_empty_and_the_missing():
    table = layers(22, ["snip", "mag", "rand"])
    axes = density_heatmap(table, "t").axes[0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["rand", "mag", "snip"]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(table.index)
    texts = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in axes.texts}
    ordered = table[["rand", "mag", "snip"]].to_numpy()
    assert texts == {(j, i): density_text(v) for (i, j), v in np.ndenumerate(ordered) if not np.isnan(v)}
    cells = {(p.get_x(), p.get_y()): p for p in axes.patches}
    assert len(cells) == 66 and cells[1, 3].get_hatch() and to_hex(cells[2, 21].get_facecolor()) == EMPTY.lower()
    assert sum(to_hex(p.get_facecolor()) == EMPTY.lower() for p in cells.values()) == 1
    assert [density_text(v) for v in (0, 1, 0.99996, 0.3162, 0.00421, 3.2e-5)] == ["0", "1", "<1", "0.316", "0.0042", "3.2e-05"]
    large = density_heatmap(layers(58, FIVE), "t").axes[0]
    assert not large.texts and next(p for p in large.patches if (p.get_x(), p.get_y()) == (0, 57)).get_hatch() == "xxxx"


def test_layer_costs_are_drawn_in_the_order_of_the_network():
    table = pd.DataFrame({"snip": [10.0, 0, 500], "dense": [100.0, 200, 1000]}, ["a", "b", "c"])
    axes = layer_bars(table, "t", "MACs").axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"] and axes.yaxis_inverted()
    (zero, place, hollow), *rest = points(axes, NAMED["snip"])
    assert place == 1 and hollow and zero < 10 and rest == [(10, 0, False), (500, 2, False)]
    assert np.allclose(sorted(b.get_x() + b.get_width() for b in axes.patches), [100, 200, 1000])


def test_long_names_keep_their_ends_unless_two_would_read_the_same():
    table = layers(2, ["snip"], "features.a_very_long_prefix_of_a_module.and_another.{1}.conv")
    assert [t.get_text() for t in density_heatmap(table, "t").axes[0].get_yticklabels()] == ["...and_another.0.conv", "...and_another.1.conv"]
    same = table.set_axis([f"{start}.{'long_name.' * 6}conv" for start in "ab"])
    assert [t.get_text() for t in density_heatmap(same, "t").axes[0].get_yticklabels()] == list(same.index)


def test_a_method_looks_the_same_in_all_figures():
    assert set(Pruners.names()) <= set(looks([])) and len({(v.colour, v.marker) for v in looks(["x", "y"]).values()}) == len(looks(["x", "y"]))
    assert looks(["b", "a"]) == looks(["a", "b", "snip"]) and len(set(REMAINING)) == 64
    assert not {look.marker for look in REMAINING} & {look.marker for look in NAMED.values()}
    assert in_order(["zeta", "synflow", "rand", "dense", "rand", "alpha"]) == ["dense", "rand", "synflow", "alpha", "zeta"]
    scores = pd.DataFrame({"pruner": "snip", "module": ["a", "b"], "size": [10, 100], "average_score": [1.0, 0.1]})
    assert points(layer_figure(scores, "t").axes[0], NAMED["snip"])
    for method in ("lamp", "snip"):
        look = looks([])[method]
        for figure in (
            accuracy_figure(runs([method], (1,)), "t"), flops_accuracy_figure(runs([method], (1,)), "t"),
            compression_figure(runs([method], (1,)), "seconds", "t", "s"), curves_figure(curves([method], 3), "t"),
            layer_bars(layers(3, [method]), "t", "MACs"),
        ):  # fmt: skip
            assert points(figure.axes[0], look)


CASES = {
    "one": lambda: accuracy_figure(runs(["snip"], (1,), 1, dense=False), "fc"),
    "accuracy": lambda: accuracy_figure(runs(), "Accuracy"),
    "crowded": lambda: accuracy_figure(runs([*FIVE, LONG, "$x$_y"], (0.05, 0.1, 0.2, 0.5, 1)), TITLE),
    "flops": lambda: flops_accuracy_figure(runs([*FIVE, LONG]), TITLE),
    "seconds": lambda: compression_figure(runs(seeds=1), "seconds", TITLE, "inference time of the test set (s)"),
    "curve": lambda: curves_figure(curves(["snip"], 1), "fc"),
    "curves": lambda: curves_figure(curves([DENSE, *FIVE, LONG, "$x$"], 400, 2), TITLE),
    "map 1": lambda: density_heatmap(layers(1, ["snip"]), "Density by layer: fc, mnist"),
    "map 22": lambda: density_heatmap(layers(22, FIVE), TITLE),
    "map 58": lambda: density_heatmap(layers(58, [*FIVE, LONG], name="features.a.very.long.module.name_$x$.{0}.{1}.conv"), TITLE),
    "bars 4": lambda: layer_bars(layers(4, ["snip"], largest=1e6), "fc", "MACs kept for one image"),
    "bars 60": lambda: layer_bars(layers(60, [DENSE, "x", *FIVE, LONG], largest=1e8), TITLE, "MACs kept for one image"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_and_no_legend_hides_a_point(case):
    figure = CASES[case]()
    picture = io.BytesIO()
    draw(figure, picture, "png")
    picture.seek(0)
    pixels = imread(picture)
    assert all((edge[..., :3] == 1).all() for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    figure.draw_without_rendering()
    around = figure.get_tightbbox()  # inches, of all that is drawn
    assert around.x0 >= 0 and around.y0 >= 0 and around.x1 <= figure.get_figwidth() and around.y1 <= figure.get_figheight()
    panels = [axes.get_tightbbox() for axes in figure.axes]
    heading = figure._suptitle.get_window_extent()
    for legend in figure.legends:
        assert not any(legend.get_window_extent().overlaps(panel) for panel in panels)
    assert not any(heading.y0 < panel.y1 - 1 for panel in panels)
    for axes in (a for parent in figure.axes for a in (parent, *parent.child_axes)):
        for axis in (axes.xaxis, axes.yaxis):
            labels = [text for tick in axis._update_ticks() for text in (tick.label1, tick.label2)]  # those in the range
            boxes = [text.get_window_extent() for text in labels if text.get_visible() and text.get_text() and not text.get_rotation()]
            assert not any(one.padded(-1).overlaps(other.padded(-1)) for one, other in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(("case", "kind"), [("accuracy", "pdf"), ("accuracy", "svg"), ("map 22", "png")])
def test_the_same_figure_gives_the_same_bytes(case, kind):
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        draw(CASES[case](), file, kind)
    assert files[0].getvalue() == files[1].getvalue() and len(files[0].getvalue()) > 1000
