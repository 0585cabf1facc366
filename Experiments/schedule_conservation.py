"""Schedule conservation: measure the share of the flow that a round of SynFlow removes.

A method whose scores are positive and conserved over layers empties no layer as long as each round removes less score (the prune
size) than a whole layer has (the cut size). For SynFlow the cut size is R, the maximal flow (Tanaka, Kunin, Yamins and Ganguli
2020, arXiv 2006.05467, section 5, theorem 3). A ratio below 1 is safe. More rounds make it smaller, with an exponential schedule
sooner than with a linear one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd
from tqdm import tqdm

from Models.reach import has_path
from Pruners._shared.loop import Unscorable
from Pruners._shared.masks import kept_count
from Pruners._shared.problem import Problem
from Pruners._shared.schedules import SCHEDULES
from Utils.base.errors import Refused
from Utils.compute.device import choose_device
from Utils.data.open_set import open_data
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.studies.conservation import schedule_rounds
from Utils.studies.study import print_saved_study, print_study, save_study
from Utils.training.masked_network import MaskedNetwork
from Utils.training.set_up import prepare, print_pruned

EXPERIMENT = {
    "summary": "score removed by SynFlow's rounds over the maximal flow, for linear and exponential schedules",
    "reads": ("common", "prunable", "schedule lists"),
    "writes": ("schedule-conservation.{csv,png,pdf}", "schedule-rounds.csv"),
    "kind": "study",
}

COMPRESSIONS = (0.5, 1.0, 1.5, 2.0)
ROUNDS = (1, 10, 100)


def run(options: Options) -> None:
    """Prune one network by SynFlow along every schedule, to each compression in each number of rounds.

    They are those of `--compression-list` and `--prune-epoch-list`, by default 0.5, 1, 1.5 and 2 in 1, 10 and 100 rounds. The
    experiment reads no data.

    Raises:
        Refused: no file was written.
    """
    compressions = list(dict.fromkeys(options.compression_list)) or COMPRESSIONS
    counts = list(dict.fromkeys(options.prune_epoch_list)) or ROUNDS
    with RunFolder(options) as folder:
        if folder.finished:
            return print_saved_study(folder)
        device = choose_device(options)
        print(f"Creating {options.model_class}-{options.model} model.")
        network = prepare(options, device, open_data(options, device))
        print_pruned(network)
        if kept_count(network.size, 10 ** -max(compressions)) < 1:
            raise Refused(f"--compression-list {max(compressions):g} keeps none of the {network.size} prunable weights")
        if (kept := kept_count(network.size, 10 ** -min(compressions))) > network.kept:
            raise Refused(f"--compression-list {min(compressions):g} keeps {kept} weights, but only {network.kept} of "
                          f"{network.size} are left there: give larger ones, or --weights-dense to prune from all")  # fmt: skip
        print(f"Pruning with synflow to compression {_text(compressions)} in {_text(counts)} rounds.")
        try:
            rounds = _prune_all(network, compressions, counts)
        except Unscorable as error:
            raise Refused(f"--model {options.model} cannot be scored with synflow: {error}") from error
        keys = ["schedule", "compression", "prune_epochs"]
        groups = rounds.groupby(keys, sort=False)
        table = groups.agg(max_ratio=("ratio", "max"), collapsed=("collapsed", "first")).reset_index()
        from Utils.figures.conservation import schedule_figure

        findings = _findings(table)
        print_study(table, findings)
        figure = schedule_figure(table, f"Score removed by the rounds of SynFlow: {options.model}, {options.dataset}")
        tables = {"schedule-conservation": table, "schedule-rounds": rounds.drop(columns="collapsed")}
        save_study(folder, device, tables, figure, {"findings": findings, "max_ratio": float(table["max_ratio"].max())})


def _prune_all(network: MaskedNetwork, compressions: Sequence[float], counts: Sequence[int]) -> pd.DataFrame:
    """Return the rows of all rounds of all schedules, each begun with the network as it was at the start."""
    shape = network.data.input_shape
    problem = Problem(network.model, network.prunables, shape, seed=network.options.seed)
    parts = []
    cells = list(product(SCHEDULES, compressions, counts))
    for schedule, compression, count in tqdm(cells, desc="schedules", unit="schedule", leave=False, disable=None):
        rows = schedule_rounds(problem, 10**-compression, count, schedule, network.options.verbose, network.survivors)
        rows = rows.assign(collapsed=not has_path(network.model, network.prunables, shape))
        for place, (name, value) in enumerate((("schedule", schedule), ("compression", compression), ("prune_epochs", count))):
            rows.insert(place, name, value)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _findings(table: pd.DataFrame) -> list[str]:
    lines = []
    for schedule, rows in table.groupby("schedule", sort=False):
        worst = rows.loc[rows["max_ratio"].idxmax()]
        collapsed = f"; {rows['collapsed'].sum()} of {len(rows)} networks collapsed" if rows["collapsed"].any() else ""
        lines.append(
            f"{schedule}: a round removes at most {worst['max_ratio']:.3g} of the flow R (compression {worst['compression']:g}, "
            f"{worst['prune_epochs']} rounds){collapsed}"
        )
    return lines


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
