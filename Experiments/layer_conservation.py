"""Layer conservation: a test whether the average score of a layer is inversely proportional to its size.

If every layer has the same total score, as with SynFlow, the average over N elements falls as 1/N: slope -1 on logarithmic axes
(Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, section 4). Methods that score large layers low without this law prune
those first, until they are empty.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import torch

from Utils.measure.score_balance import fit
from Utils.options.types import Options
from Utils.studies.conservation import ROUNDING, largest_deviation, layer_table, why_not_conserved
from Utils.studies.study import study_pruners
from Utils.studies.wiring import wiring_of
from Utils.training.masked_network import MaskedNetwork

EXPERIMENT = {
    "summary": "average score of each layer against the inverse of its size",
    "reads": ("pruning", "pruner list"),
    "writes": ("layer-conservation.{csv,png,pdf}",),
    "kind": "study",
}


def run(options: Options) -> None:
    """Score one network with each method and compare its layers, or print the results in the finished folder.

    The scores are the last ones on the way to `--compression`, by default those of the dense network.

    Raises:
        Refused: no file was written.
    """
    findings, slopes, deviations = [], {}, {}

    def measure(pruner: str, network: MaskedNetwork, scores: list[torch.Tensor]) -> pd.DataFrame:
        table = layer_table(network.prunables, scores)
        slopes[pruner], _ = fit(table)
        deviations[pruner] = largest_deviation(table["score_sum"])
        findings.append(_finding(pruner, table, network))
        return table

    def conclude(table: pd.DataFrame) -> tuple[Any, dict[str, Any]]:
        from Utils.figures.conservation import layer_figure

        title = f"Layer conservation: {options.model}, {options.dataset}, density {options.density:.4g}"
        return layer_figure(table, title), {"findings": findings, "slopes": slopes, "largest_deviation": deviations}

    study_pruners(options, measure, conclude)


def _finding(pruner: str, table: pd.DataFrame, network: MaskedNetwork) -> str:
    (slope, _), deviation, empty = fit(table), largest_deviation(table["score_sum"]), int((table["average_score"] == 0).sum())
    line = f"{pruner}: average score against size has {'no slope' if math.isnan(slope) else f'slope {slope:.3f}'}"
    line += f"; layer totals differ from their mean by up to {deviation:.2g} of it"
    line += f"; {empty} of {len(table)} are zero" if empty else ""
    if pruner == "synflow" and not deviation < ROUNDING:
        line += f" ({why_not_conserved(network.model, wiring_of(network.model, network.data.input_shape))})"
    return line
