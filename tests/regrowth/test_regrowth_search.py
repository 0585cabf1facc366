"""The search for an allocation: the controller's sizes, what it learns, and that it goes on bit for bit."""

from __future__ import annotations

import pytest
import torch

from Utils.base.tensor_files import seal, unseal
from Utils.regrowth.controller import AllocationController, Settings
from Utils.regrowth.search import search


def test_the_controller_has_the_published_sizes():
    controller = AllocationController(Settings(), 1)
    assert sum(p.numel() for p in controller.parameters()) == 21_195
    s = Settings()
    assert [round(s.beta(e, 100), 3) for e in (0, 20, 40, 99)] == [0.4, 0.22, 0.04, 0.04]
    assert "temperature 0.005" in s.text() and "lr 0.005" in s.text()


CAPS = {"a": 60, "b": 60, "c": 60}


def rises_with_a(allocation):
    return 0.5 + 0.002 * allocation["a"]


def test_the_search_learns_where_accuracy_comes_from():
    found = search(CAPS, 60, rises_with_a, 200, seed=1)
    to_a = [row[0] for row in found.allocations]
    assert sum(to_a[-50:]) / 50 > sum(to_a[:50]) / 50 + 5
    assert found.allocation == dict(zip(CAPS, found.allocations[found.episode], strict=True))
    assert all(sum(row) == 60 for row in found.allocations) and found.reward == max(row[1] for row in found.history)


def test_a_search_goes_on_bit_for_bit(tmp_path):
    whole = search(CAPS, 60, rises_with_a, 30, seed=2)

    class Killed(Exception):
        pass

    def keep(state):
        seal(tmp_path / "s.bin", state())
        if len(unseal(tmp_path / "s.bin")["found"]["history"]) == 13:
            raise Killed

    with pytest.raises(Killed):
        search(CAPS, 60, rises_with_a, 30, seed=2, after_episode=keep)
    torch.manual_seed(99)
    resumed = search(CAPS, 60, rises_with_a, 30, seed=2, state=unseal(tmp_path / "s.bin"))
    assert resumed.history == whole.history and resumed.allocations == whole.allocations
    assert resumed.table(CAPS).equals(whole.table(CAPS)) and resumed.allocation == whole.allocation


def test_a_layer_that_can_get_nothing_has_no_part():
    controller = AllocationController(Settings(), 1)
    episode = controller.sample(5, [0, 1000, 0], torch.Generator().manual_seed(0))
    assert episode.ratios[0] == episode.ratios[2] == 0
    assert episode.log_prob.item() > -5  # one choice among eleven, not three
