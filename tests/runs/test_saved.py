"""Saved networks: what a damaged file is called."""

from __future__ import annotations

import pytest
import torch

from Utils.base.errors import Refused
from Utils.runs.saved import read_tensors

CUT = {0: "is empty", 1: "cut off", 100: "cut off", 5000: "cut off", -100: "cut off", -1: "cut off"}


@pytest.mark.parametrize("length", CUT)
def test_a_network_cut_off_anywhere_is_no_whole_file(tmp_path, length):
    """At some lengths torch's reader seeks before the beginning: an OSError, though the file itself can be read."""
    file = tmp_path / "model.pt"
    torch.save({"a.weight": torch.ones(400, 400)}, file)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(Refused, match=CUT[length]):
        read_tensors(file)


def test_a_network_that_is_not_there_cannot_be_read(tmp_path):
    with pytest.raises(Refused, match=r"model.pt: there is no such file"):
        read_tensors(tmp_path / "model.pt")
