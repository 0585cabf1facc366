"""Common parts of the conservation studies: one network scored by several methods, and the printed results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import Pruners
from Pruners._shared.loop import Unscorable
from Utils.base.csv_files import read_named
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.compute.device import choose_device
from Utils.data.dataset import Dataset
from Utils.data.open_set import open_data
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.runs.summary import study_summary
from Utils.training.masked_network import MaskedNetwork
from Utils.training.set_up import load_pruner, prepare, print_notes


def study_pruners(
    options: Options,
    measure: Callable[[str, MaskedNetwork, list[torch.Tensor]], pd.DataFrame],
    conclude: Callable[[pd.DataFrame], tuple[Any, dict[str, Any]]],
    *,
    check: Callable[[MaskedNetwork], object] | None = None,
    digest: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table,
) -> None:
    """Score one network with each method, print and save the tables; print a finished folder instead.

    Args:
        options: those of the study.
        measure: makes the table of one method from its name, the pruned network and the last scores.
        conclude: makes the figure and the results, with "findings", from the table of all methods, which begins with `pruner`.
        check: called with each network before it is scored.
        digest: makes the table that is printed.

    Raises:
        Refused: no file was written.
    """
    check_pruners(options)
    with RunFolder(options) as folder:
        if folder.finished:
            return print_saved_study(folder, digest)
        device = choose_device(options)
        data = open_data(options, device)
        print(f"Creating {options.model_class}-{options.model} model.")
        parts = []
        for pruner, network, scores in score_each(options, device, data, check):
            parts.append(measure(pruner, network, scores))
            parts[-1].insert(0, "pruner", pruner)
        table = pd.concat(parts, ignore_index=True)
        figure, results = conclude(table)
        print_study(digest(table), results["findings"])
        save_study(folder, device, {options.experiment: table}, figure, results)


def _pruners(options: Options) -> list[str]:
    return list(dict.fromkeys(options.pruner_list or (options.pruner,)))


def check_pruners(options: Options) -> None:
    """Refuse a `--pruner-list`, or a `--pruner`, in which `dense` is asked to prune.

    Raises:
        Refused: one line with the density.
    """
    if Pruners.DENSE in _pruners(options) and options.density < 1:
        raise Refused(f"--pruner-list dense keeps every weight, not a density of {options.density:.6g}: leave it out")


def options_per_pruner(options: Options) -> list[Options]:
    """Return the options once for each of `--pruner-list`, or for `--pruner` alone.

    At density 1, scores are the same in every round, so that one round is enough if `--prune-epochs` is not given.
    """
    found = []
    for name in _pruners(options):
        rounds = options.prune_epochs or (1 if options.density == 1 else Pruners.load(name).rounds)
        found.append(replace(options, pruner=name, prune_epochs=rounds))
    return found


def score_each(
    options: Options, device: torch.device, data: Dataset, check: Callable[[MaskedNetwork], Any] | None = None
) -> Iterator[tuple[str, MaskedNetwork, list[torch.Tensor]]]:
    """Score the same initial network with each method.

    Yield (pruner, the network after pruning, the scores of the last round). `check` is called with each network before it is
    scored. The dataset is read only if a method needs it.

    Raises:
        Refused: a method cannot score this network.
    """
    for own in options_per_pruner(options):
        pruner = load_pruner(own)
        network = prepare(own, device, data)
        if check:
            check(network)
        print(f"Scoring with {own.pruner} for {own.prune_epochs} epochs to density {own.density:.6g}.")
        print_notes(pruner, network)
        try:
            yield own.pruner, network, network.prune(pruner).scores
        except Unscorable as error:
            raise Refused(str(error)) from error


def print_study(table: pd.DataFrame, findings: Iterable[str]) -> None:
    """Print a table in full, and its findings."""
    print(table.to_string(index=False, float_format=lambda value: f"{value:.6g}"))
    for line in findings:
        print(line)


def save_study(
    folder: RunFolder, device: torch.device, tables: dict[str, pd.DataFrame], figure: Any, results: dict[str, Any]
) -> None:
    """Write the tables (the first one is that of the experiment), the figure, and the summary, and print where they are."""
    folder.begin(device)
    for name, table in tables.items():
        folder.write_table(f"{name}.csv", table)
    folder.write_figure(folder.options.experiment, figure)
    folder.finish(study_summary(folder, results))
    if folder.saves:
        print(f"Figure: {folder.path / folder.options.experiment}.png")


def print_saved_study(folder: RunFolder, digest: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table) -> None:
    """Print the table of a finished folder, through `digest`, and its findings."""
    experiment, path = folder.options.experiment, Path(folder.path)
    print(f"Already done: {path}")
    table = read_named(path / f"{experiment}.csv")
    print_study(digest(table), read_json(path / "summary.json")["findings"])
    print(f"Figure: {path / experiment}.png")
