"""The levels of multishot: densities, trainings, and rows, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from Utils.runs.earlier_checkpoints import in_stages
from Utils.runs.levels import levels_of, rows_before
from Utils.training.phase import Diverged

OPTIONS = {"level": 3, "density": 0.125, "pre_epochs": 5, "post_epochs": 7}


def test_densities_fall_by_the_same_factor():
    levels = levels_of(SimpleNamespace(**OPTIONS, no_rewind=False), 1.0)
    assert [level.number for level in levels] == [1, 2, 3] and [level.last for level in levels] == [False, False, True]
    assert [level.density for level in levels] == pytest.approx([0.5, 0.25, 0.125]) and levels[-1].density == 0.125
    assert [level.from_density for level in levels] == pytest.approx([1.0, 0.5, 0.25])
    pruned = levels_of(SimpleNamespace(**OPTIONS, no_rewind=False), 0.1)
    assert [level.density for level in pruned] == pytest.approx([0.1, 0.1, 0.1])


def test_levels_train_like_the_dense_network_or_are_fine_tuned():
    def trainings(no_rewind):
        levels = levels_of(SimpleNamespace(**OPTIONS, no_rewind=no_rewind), 1.0)
        return [(level.phase, level.order, level.epochs) for level in levels]

    assert trainings(False) == [("pre_train", "pre_train", 5)] * 2 + [("post_train", "post_train", 7)]
    assert trainings(True) == [("post_train", f"fine-tune-{n}", 7) for n in (1, 2)] + [("post_train", "post_train", 7)]


def test_a_diverged_level_has_the_rows_of_those_before():
    rows = pd.DataFrame({"epoch": [0, 1]})
    with pytest.raises(Diverged) as caught, rows_before([rows, rows]):
        raise Diverged("pre_train", 1, rows)
    assert caught.value.rows["level"].tolist() == [0, 0, 1, 1, 2, 2] and caught.value.rows["epoch"].tolist() == [0, 1] * 3


def test_levels_of_an_earlier_checkpoint_get_their_counts():
    rows = {"columns of a table": {}}
    saved = {"done": {"begin": None, "prune-1": [{"density": 0.5}, None], "level-1": rows, "prune-2": [{"density": 0.25}, None]}, "half": {}}
    now = in_stages(saved, None)
    assert now["done"] == saved["done"] | {"level-1": [{"density": 0.5}, rows]} and in_stages(now, None) == now
