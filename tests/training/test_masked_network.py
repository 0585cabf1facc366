"""The table of a masked network after a pruning."""

from __future__ import annotations

import torch
from torch import nn

import Pruners
from Models.masking import add_masks
from Utils.compute.precision import Precision
from Utils.data.open_set import open_dataset
from Utils.options.command_line import parse
from Utils.training.masked_network import MaskedNetwork, Pruned

CPU = torch.device("cpu")


def test_weights_kept_by_position_belong_to_one_pruning():
    """Of the weights 5, 4 and six zeros, four are kept; a table of other scores says nothing of that pruning."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[5.0, 0, 0, 0], [4.0, 0, 0, 0]]))
    data = open_dataset("synthetic:1x2x2:2:8")
    options = parse(["--dataset", "synthetic:1x2x2:2:8", "--pruner", "mag", "--density", "0.5"])
    network = MaskedNetwork(model, add_masks(model), data, CPU, options, Precision(CPU))
    pruned = network.prune(Pruners.load("mag")())
    assert network.kept == 4 and pruned.zeros.layers == {"1.weight": 2}
    assert network.compression_table(pruned)["kept_by_position"].sum() == 2
    assert "kept_by_position" not in network.compression_table(Pruned(pruned.scores))
