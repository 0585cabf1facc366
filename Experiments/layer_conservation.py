"""Layer conservation: a test whether the average score of a layer is inversely proportional to its size.

If every layer has the same total score, as with SynFlow, the average over N elements falls as 1/N: slope -1 on logarithmic axes
(Tanaka, Kunin, Yamins and Ganguli 2020, arXiv 2006.05467, section 4). Methods that score large layers low without this law prune
those first, until they are empty.
"""

from __future__ import annotations

import math

import pandas as pd

from Utils.compute.device import choose_device
from Utils.data.open_set import open_data
from Utils.measure.score_balance import fit
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.studies.conservation import ROUNDING, largest_deviation, layer_table, why_not_conserved
from Utils.studies.study import options_per_pruner, print_saved_study, print_study, save_study, score_each
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
    options_per_pruner(options)
    with RunFolder(options) as folder:
        if folder.finished:
            return print_saved_study(folder)
        device = choose_device(options)
        data = open_data(options, device)
        print(f"Creating {options.model_class}-{options.model} model.")
        parts, findings, slopes, deviations = [], [], {}, {}
        for pruner, network, scores in score_each(options, device, data):
            table = layer_table(network.prunables, scores)
            slopes[pruner], _ = fit(table)
            deviations[pruner] = largest_deviation(table["score_sum"])
            findings.append(_finding(pruner, table, network))
            table.insert(0, "pruner", pruner)
            parts.append(table)
        from Utils.figures.conservation import layer_figure

        table = pd.concat(parts, ignore_index=True)
        print_study(table, findings)
        figure = layer_figure(table, f"Layer conservation: {options.model}, {options.dataset}, density {options.density:.4g}")
        results = {"findings": findings, "slopes": slopes, "largest_deviation": deviations}
        save_study(folder, device, {"layer-conservation": table}, figure, results)


def _finding(pruner: str, table: pd.DataFrame, network: MaskedNetwork) -> str:
    (slope, _), deviation, empty = fit(table), largest_deviation(table["score_sum"]), int((table["average_score"] == 0).sum())
    line = f"{pruner}: average score against size has {'no slope' if math.isnan(slope) else f'slope {slope:.3f}'}"
    line += f"; layer totals differ from their mean by up to {deviation:.2g} of it"
    line += f"; {empty} of {len(table)} are zero" if empty else ""
    if pruner == "synflow" and not deviation < ROUNDING:
        line += f" ({why_not_conserved(network.model, wiring_of(network.model, network.data.input_shape))})"
    return line
