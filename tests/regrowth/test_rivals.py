"""The method of the rival that is pruned plainly."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from Utils.options.command_line import parse
from Utils.regrowth.rivals import _pruning_options, note_lost_method

SAVED = parse(["--dataset", "synthetic:1x8x8:3:60", "--pruner", "snip", "--sparsity", "0.9"])
OWN = SimpleNamespace(model="conv", split_seed=3)


@pytest.mark.parametrize(
    ("saved", "pruner", "notes"),
    [(SAVED, "snip", 0), (replace(SAVED, pruner="set"), "mag", 0), (replace(SAVED, pruner="gone"), "mag", 1), (None, "mag", 0)],
)
def test_plain_pruning_uses_magnitudes_without_a_method_of_its_own(capsys, saved, pruner, notes):
    start = SimpleNamespace(saved=saved, options=OWN, notes=[])
    note_lost_method(start)
    assert _pruning_options(start).pruner == pruner
    assert capsys.readouterr().out.count("NOTE: there is no method gone any more") == len(start.notes) == notes
