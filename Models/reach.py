"""Whether a path of kept weights leads from the image to the output of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from Models.effective import connections
from Models.flow import FAILURES, follow
from Models.masking import Prunable
from Models.tape import record
from Utils.base.errors import out_of_memory


def has_path(model: nn.Module, prunables: Sequence[Prunable], input_shape: tuple[int, ...]) -> bool:
    """Tell whether a path of kept weights leads from the image, of shape `input_shape`, to the output of `model`.

    Without a path the network is constant, and no weight is effective: the verdict is that of `Models/effective.py`. The network
    does not change. A network of which nothing is pruned, one whose forward pass fails, and one that hands numbers which depend
    on the image to Python or numpy, count as having a path.
    """
    if all(bool(p.mask.all()) for p in prunables):
        return True
    try:
        tape = record(model, input_shape)
        with torch.no_grad():
            flow = follow(tape, connections(model, prunables))
            ends = [end for end in (flow.output(), flow.left()) if end is not None]
            return any(bool((end > 0).any()) for end in ends)
    except FAILURES as error:
        if out_of_memory(error):
            raise
        return True
