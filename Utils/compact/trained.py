"""Compaction of a run's network: its dead units are removed, and a check proves that it computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from Models.compact import Compact, compact, picked
from Models.difference import largest_difference
from Models.effective import find_paths
from Models.masking import Prunable
from Models.reach import has_path
from Utils.base.errors import RunFailed, out_of_memory
from Utils.base.seeds import generator
from Utils.base.text import one_line
from Utils.compute.clock import Clock
from Utils.data.dataset import Dataset
from Utils.measure.counting import multiply_adds
from Utils.training.masked_network import MaskedNetwork
from Utils.training.set_up import use_threads

TOLERANCE = 1e-5  # share of the largest output
RANDOM, REAL = 2, 2  # images that the two networks are compared on


def compacted(model: nn.Module, prunables: Sequence[Prunable], data: Dataset) -> Compact:
    """Return `model`, whose masks are applied to its weights, without its dead units; `model` itself does not change.

    Raises:
        RunFailed: no path from input to output is left, the network cannot be cut, or the small one computes something else.
    """
    if not has_path(model, prunables, data.input_shape):
        raise RunFailed("nothing to compact: no path is left from the input to the output, the network is constant")
    try:
        small = compact(model, prunables, find_paths(model, prunables, data.input_shape), data.input_shape)
        difference = largest_difference(model, small.model, _images(data))
    except (RuntimeError, ArithmeticError, ValueError, AttributeError, AssertionError, LookupError, TypeError) as error:
        if out_of_memory(error):
            raise
        raise RunFailed(f"the network cannot be compacted: {one_line(str(error))}") from error
    if not difference <= TOLERANCE:
        raise RunFailed(f"the network cannot be compacted: the small one's outputs differ by {difference:.1e} of the largest")
    return small


def _images(data: Dataset) -> torch.Tensor:
    """Return random and real images [B, C, H, W], on the device of the data."""
    real = next(iter(data.test_batches(REAL)))[0]
    noise = torch.randn(RANDOM, *data.input_shape, generator=generator(0, "compaction"))
    return torch.cat([noise.to(real), real])


class TrainedNetwork:
    """The network that a run trains: the whole one, or with `--compact` the small one made from its present state.

    Args:
        whole: the whole network.
        clock: counts the compaction as part of the pruning; None if it was counted before, and is only repeated.

    Attributes:
        whole: the whole network.
        network: the trained one: the small one, or the whole one itself.
    """

    def __init__(self, whole: MaskedNetwork, clock: Clock | None) -> None:
        self.whole, self.network = whole, whole
        self._small: Compact | None = None
        if whole.options.compact:
            with clock("prune") if clock else nullcontext():
                self._small = compacted(whole.model, whole.prunables, whole.data)
            self.network = replace(whole, model=self._small.model, prunables=self._small.prunables)
            use_threads(self.network.model, whole.options, whole.data.input_shape)
            self._print()

    def shrink(self, training: Mapping[str, Any]) -> dict[str, Any]:
        """Convert a state of `Training` for the whole network to one for the network that is trained."""
        if self._small is None:
            return dict(training)
        names = [name for name, p in self.whole.model.named_parameters() if p.requires_grad]
        places = self._small.places
        entries = {
            i: {k: picked(t, places[names[i]]) if t.dim() else t for k, t in entry.items()}
            for i, entry in training["optimizer"]["state"].items()
        }
        optimizer = training["optimizer"] | {"state": entries}
        return dict(training) | {"model": self._small.shrink(training["model"]), "optimizer": optimizer}

    def write_back(self) -> None:
        """Copy the values of the trained network to the whole one."""
        if self._small is not None:
            large = self.whole.model.state_dict()
            self.whole.load(self._small.expand(self.network.model.state_dict(), large))

    def small_state(self) -> dict[str, torch.Tensor] | None:
        """Return the small network's `state_dict`; None without `--compact`."""
        return None if self._small is None else self.network.model.state_dict()

    def summary(self) -> dict[str, int]:
        """Return parameters and MACs of the small network, as dense arithmetic; empty without `--compact`."""
        if self._small is None:
            return {}
        model = self.network.model
        parameters = sum(p.numel() for p in model.parameters())
        return {"params_compact": parameters, "macs_compact": multiply_adds(model, self.whole.data.input_shape)}

    def _print(self) -> None:
        parameters = sum(p.numel() for p in self.whole.model.parameters())
        macs = multiply_adds(self.whole.model, self.whole.data.input_shape)
        small = self.summary()
        of_macs = f", MACs {small['macs_compact']}/{macs} ({small['macs_compact'] / macs:.4f})" if macs else ""
        share = small["params_compact"] / parameters
        print(f"Compact: parameters {small['params_compact']}/{parameters} ({share:.4f}){of_macs}, computing the same.")
