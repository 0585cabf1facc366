"""Two networks compared: predictions, ties, latencies; what exporters say is hidden, their errors are not."""

from __future__ import annotations

import io
import logging
import sys
import warnings

import pytest
import torch
from torch import nn

from Utils.compact import comparison, export
from Utils.compact.comparison import agreement, latencies
from Utils.measure.inference_time import WARM_UP


def test_agreement_by_hand():
    """Inputs (x, y); the first network gives them as they are. Equal outputs are a tie, and no difference of predictions."""

    class Images:
        test_size = 4
        images = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 3.0]])

        def test_batches(self, size):
            return zip(self.images.split(size), torch.tensor([0, 1, 1, 1]).split(size), strict=True)

    def linear(rows):
        layer = nn.Linear(2, 2, bias=False)
        layer.weight.data = torch.tensor(rows)
        return layer

    same = linear([[1.0, 0.0], [0.0, 1.0]])
    found = agreement(same, linear([[1.0, 0.0], [0.0, 1.25]]), Images(), 3)  # ties become the second class
    assert (found.differing, found.ties, found.largest_difference, found.largest_output) == (0, 2, 0.75, 3.0)
    assert found.images == 4 and found.top1 == (50.0, 100.0) and same.training
    assert agreement(same, linear([[0.0, 1.0], [1.0, 0.0]]), Images(), 3).differing == 2
    nearly = agreement(linear([[1.0, 0.0], [1.0, 1e-6]]), linear([[1.0, 0.0], [1.0, -1e-6]]), Images(), 3)  # two of three flips within rounding
    assert (nearly.differing, nearly.ties) == (1, 2)
    nothing = agreement(same, linear([[float("nan"), 0.0], [0.0, 1.0]]), Images(), 3)
    assert nothing.largest_difference != nothing.largest_difference


def test_slow_networks_are_called_less_often(monkeypatch):
    networks, calls = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)}, []
    networks["b"].register_forward_hook(lambda *_: calls.append(1))
    for patience, expected in ((60.0, comparison.REPEATS), (0.0, comparison.FEWEST)):
        monkeypatch.setattr(comparison, "PATIENCE", patience)
        calls.clear()
        seconds, repeats = latencies(networks, torch.zeros(3, 2))
        assert repeats == expected and len(calls) == 1 + WARM_UP + repeats and set(seconds) == {"a", "b"}


def test_quiet_hides_talk_and_not_errors(capsys):
    log = logging.getLogger("chatter")
    log.addHandler(logging.StreamHandler(io.StringIO()))
    with pytest.raises(ValueError, match="real"), export.quiet():
        print("a")
        print("b", file=sys.stderr)
        warnings.warn("c", stacklevel=1)
        log.error("d")
        raise ValueError("real")
    assert capsys.readouterr() == ("", "") and log.handlers[0].stream.getvalue() == ""
    log.error("e")
    assert log.handlers[0].stream.getvalue() == "e\n"
