"""Unit conservation: a test whether the scores that enter a hidden unit equal those that leave it.

SynFlow's do, exactly, and so does any sum of dR/dw * w without absolute values, in a network of homogeneous activations (Tanaka,
Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, section 4, theorem 1). The law is defined only between consecutive layers: pairs
beside a shortcut are left out.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from Utils.base.errors import Refused
from Utils.measure.score_balance import relative_difference
from Utils.options.types import Options
from Utils.studies.conservation import ROUNDING, open_ends, unit_table, why_not_conserved
from Utils.studies.study import study_pruners
from Utils.studies.wiring import Wiring, wiring_of
from Utils.training.masked_network import MaskedNetwork

EXPERIMENT = {
    "summary": "scores that enter each hidden unit against those that leave it",
    "reads": ("pruning", "pruner list"),
    "writes": ("unit-conservation.{csv,png,pdf}",),
    "kind": "study",
}


def run(options: Options) -> None:
    """Score one network with each method, and compare the scores that enter and that leave its units.

    If the folder is finished, print its results instead.

    Raises:
        Refused: no file was written; or no two layers follow each other.
    """
    wirings: list[Wiring] = []
    findings, largest = [], {}

    def measure(pruner: str, network: MaskedNetwork, scores: list[torch.Tensor]) -> pd.DataFrame:
        table = unit_table(wirings[-1].pairs, network.prunables, scores)
        largest[pruner] = float(relative_difference(table).max())
        findings.append(_finding(pruner, largest[pruner], network))
        return table

    def conclude(table: pd.DataFrame) -> tuple[Any, dict[str, Any]]:
        from Utils.figures.conservation import unit_figure

        title = f"Unit conservation: {options.model}, {options.dataset}, density {options.density:.4g}"
        results = {"findings": findings + _left_out(options, wirings[-1]), "largest_difference": largest}
        return unit_figure(table, title), results

    study_pruners(options, measure, conclude, check=lambda network: wirings.append(_wiring(network)), digest=by_pair)


def by_pair(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row per pruner and pair of layers.

    Columns: units, score that enters and leaves all of them, largest relative difference.
    """
    table = table.assign(largest_difference=relative_difference(table))
    groups = table.groupby(["pruner", "layer_in", "layer_out"], sort=False)
    sums = {"units": ("unit", "size"), "in_score": ("in_score", "sum"), "out_score": ("out_score", "sum")}
    return groups.agg(**sums, largest_difference=("largest_difference", "max")).reset_index()


def _wiring(network: MaskedNetwork) -> Wiring:
    wiring = wiring_of(network.model, network.data.input_shape)
    scored = {p.name for p in network.prunables}
    if not any(f"{a}.weight" in scored and f"{b}.weight" in scored for a, b in wiring.pairs):
        raise Refused(
            f"--model {network.options.model}: unit conservation is defined between consecutive layers, and no two scored layers "
            "of this network follow each other; choose another --model, such as fc, conv or vgg11-bn"
        )
    return wiring


def _left_out(options: Options, wiring: Wiring) -> list[str]:
    if wiring.is_chain:
        return []
    return [f"NOTE: unit conservation is defined between consecutive layers only: {len(wiring.pairs)} pairs of {options.model}'s "
            f"{len(wiring.layers)} layers are, the others meet shortcuts or parallel paths"]  # fmt: skip


def _finding(pruner: str, largest: float, network: MaskedNetwork) -> str:
    line = f"{pruner}: what enters a unit differs from what leaves it by up to {largest:.2g} of the larger"
    if pruner == "synflow" and not largest < ROUNDING:
        uncounted = open_ends(network.model) and not network.options.prune_bias
        hint = "; --prune-bias counts the biases' scores" if uncounted else ""
        line += f" ({why_not_conserved(network.model, None)}{hint})"
    return line
