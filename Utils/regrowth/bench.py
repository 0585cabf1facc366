"""The time of regrowth by reference and by saliency, by phase: preprocessing, selection, masks, fine-tuning.

The phases are those of Bidirection-Prune-Regrowth's benchmark. By reference: the features of both networks and their SSIM are
computed, then the reference is read and its largest pruned weights are taken. By saliency: the gradients of the dense network
over training batches are computed, then the largest g^2 w^2 are taken. Both regrow the same count of each layer, in proportion to
its capacity.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Models.checkpoint_reader import read_checkpoint
from Utils.compute.clock import Clock
from Utils.regrowth.allocation import allocate, capacities
from Utils.regrowth.finetune import short_accuracy
from Utils.regrowth.selection import mean_gradients, pruned_scores
from Utils.regrowth.ssim import compare_maps, mean_maps
from Utils.regrowth.start import PrunedNetwork
from Utils.regrowth.turn_on import choose, revive_

REFERENCE, SALIENCY = "reference", "saliency"
# Part -> its phase.
PHASES = {
    "dense features": "preprocessing", "sparse features": "preprocessing", "ssim": "preprocessing",
    "gradients": "preprocessing", "scores": "preprocessing", "read reference": "selection", "select": "selection",
    "update masks": "mask update", "mini fine-tuning": "mini fine-tuning",
}  # fmt: skip
SELECTION = "selection"


class _Watch:
    """The seconds of the parts of one method, measured when the device has finished."""

    def __init__(self, device: torch.device) -> None:
        self._clock, self.parts = Clock(device), {}

    def __call__(self, part: str, work: Callable[[], Any]) -> Any:
        with self._clock(part) as lap:
            result = work()
        self.parts[part] = lap.seconds
        return result


def time_methods(opened: PrunedNetwork, count: int) -> pd.DataFrame:
    """Return a row for each run, method and part: run, method, phase, part, seconds; a first run of both does not count.

    The methods take turns in going first. At the end the network is that of the start again.
    """
    rows, allocation = [], allocate("proportional", count, capacities(opened.layers))
    for number in range(-1, opened.options.regrow_repeats):
        pair = (REFERENCE, SALIENCY) if number % 2 == 0 else (SALIENCY, REFERENCE)
        for method in pair:
            opened.load(opened.state)
            watch = _Watch(opened.device)
            scores = (_reference if method == REFERENCE else _saliency)(opened, watch)
            layers = {name: p for name, p in opened.layers.items() if allocation[name]}
            places = watch("select", lambda s=scores, on=layers: {n: choose(s[n], p.mask, allocation[n]) for n, p in on.items()})
            watch("update masks", lambda at=places: revive_(opened.layers, at, "zero"))
            if epochs := opened.options.regrow_mini_epochs:
                watch("mini fine-tuning", lambda e=epochs: short_accuracy(opened, Clock(opened.device), 0, e))
            if number >= 0:
                rows += [{"run": number + 1, "method": method, "phase": PHASES[part], "part": part, "seconds": s}
                         for part, s in watch.parts.items()]  # fmt: skip
    opened.load(opened.state)
    return pd.DataFrame(rows)


def _reference(opened: PrunedNetwork, watch: _Watch) -> dict[str, torch.Tensor]:
    options, layers = opened.options, list(opened.layers)
    batches = list(opened.validation(options.regrow_ssim_batches))  # read beforehand, so that only the method is timed
    one = watch("dense features", lambda: mean_maps(opened.dense, batches, layers, len(batches)))
    other = watch("sparse features", lambda: mean_maps(opened.model, batches, layers, len(batches)))
    watch("ssim", lambda: {name: compare_maps(one[name], other[name]) for name in layers})
    file = Path(options.regrow_reference or options.regrow_dense)
    watch("read reference", lambda: [t.to(opened.device) for t in read_checkpoint(file).tensors.values()])
    scores, _ = watch("rank", lambda: pruned_scores("reference", opened.model, opened.layers, sources=opened.sources))
    watch.parts["read reference"] += watch.parts.pop("rank")
    return scores


def _saliency(opened: PrunedNetwork, watch: _Watch) -> dict[str, torch.Tensor]:
    batches = list(opened.scoring(opened.options.regrow_score_batches))
    dense: Any = opened.sources.dense
    squares = watch("gradients", lambda: mean_gradients(opened.dense, opened.layers, batches, dense, squared=True))
    return watch("scores", lambda: {name: square * dense[name].square() for name, square in squares.items()})


def by_phase(times: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each method and phase, and for its total.

    The columns are mean, deviation and smallest of the runs, and share of the total.
    """
    sums = times.groupby(["run", "method", "phase"], sort=False)["seconds"].sum().reset_index()
    totals = times.groupby(["run", "method"], sort=False)["seconds"].sum().reset_index().assign(phase="total")
    groups = pd.concat([sums, totals]).groupby(["method", "phase"], sort=False)["seconds"]
    frame = groups.agg(["mean", "std", "min"]).reset_index()
    whole = frame[frame["phase"] == "total"].set_index("method")["mean"]
    order = {p: i for i, p in enumerate((*dict.fromkeys(PHASES.values()), "total"))}
    frame["share"] = frame["mean"] / frame["method"].map(whole)
    return frame.sort_values(["method", "phase"], key=lambda c: c.map(order) if c.name == "phase" else c, ignore_index=True)


def findings_of(table: pd.DataFrame, count: int) -> list[str]:
    """Describe the table in sentences."""
    at = table.set_index(["method", "phase"])["mean"]
    lines = []
    for phase in ("preprocessing", SELECTION, "total"):
        a, b = at[REFERENCE, phase], at[SALIENCY, phase]
        quick, slow = ((SALIENCY, a / b) if b < a else (REFERENCE, b / a)) if min(a, b) > 0 else ("neither", 1.0)
        lines.append(f"{phase}: {a:.4f} s by reference, {b:.4f} s by saliency; {quick} is {slow:.2f} times as fast")
    return [f"{count} weights; {lines[0]}", *lines[1:]]
