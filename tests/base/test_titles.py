"""Titles of figures: whole, inside the picture, above the panels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_histograms import of, state

from Utils.figures.weight_histograms import grid_figure, layer_figure, stacked_figure
from Utils.runs.saved import heading


@pytest.mark.parametrize("count", [1, 4, 21])
def test_long_titles_are_inside_the_figure_and_above_the_panels(count, tmp_path):
    title = f"{'a/very/long/path_' * 6}net.py:build, folder:{'images' * 6}, synflow, density 0.1234"
    layers = of(state(**{f"blocks__{i}__conv": (np.linspace(-1, 1, 99), [1] * 50 + [0] * 49) for i in range(count)}))
    assert "50 kept, 49 pruned" in grid_figure(layers, "t").axes[0].get_title("left") + grid_figure(layers, "t").axes[0].get_title()
    for figure in (grid_figure(layers, title), layer_figure(layers[:1], title), stacked_figure(layers, title)):
        figure.savefig(tmp_path / "figure.png", dpi=72)
        heading = next(t for t in (*figure.texts, figure._suptitle, *figure.axes[0].texts) if t and "0.1234" in t.get_text())
        assert heading.get_text().replace("\n", "").replace(" ", "") == title.replace(" ", "")
        box = heading.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
        if figure.axes[0].axison:
            others = [t for axes in figure.axes for t in (*axes.texts, axes.title, axes._left_title) if t.get_text()]
            assert all(t.get_window_extent().y1 <= box.y0 + 1 for t in others)


def test_paths_in_headings_are_named_by_their_last_part(tmp_path):
    saved = {"model": f"/home/{'x' * 80}/net.py:build", "dataset": "folder:/data/big/flowers", "pruner": "snip"}
    (tmp_path / "args.json").write_text(json.dumps(saved))
    assert heading(tmp_path) == "net.py:build, folder:flowers, snip"
    (tmp_path / "args.json").write_text(json.dumps({"model": "m" * 80 + "end", "dataset": "synthetic:3x8x8:3:60"}))
    assert heading(tmp_path) == f"...{'m' * 34}end, synthetic:3x8x8:3:60"
