"""A grid under torchrun: its cells one after the other, each on all processes, and then the table of all."""

from __future__ import annotations

import argparse
from importlib import import_module

from Utils import distributed
from Utils.errors import Refused, RunFailed
from Utils.grid import run as alone
from Utils.grid.states import check_grid_folder, state_of
from Utils.integrity import alone_in
from Utils.manifest import GRID, OwnFiles
from Utils.results import check_writable, path_of
from Utils.setup import Datasets
from Utils.torchrun import process_group
from Utils.training import Diverged


def run(plan: argparse.Namespace) -> None:
    """Run the cells of `plan` that are not done; a failure ends all, but for a training that diverged in all processes alike.

    Raises:
        Refused: a cell cannot be; nothing was written.
        RunFailed: a cell failed; the same command goes on there.
    """
    with process_group(plan):
        collects = distributed.is_first()
        _run_cells(plan)
    if collects:
        if plan.overwrite:
            with alone_in(path_of(plan), -1) as own:
                own.remove()
        alone.run(argparse.Namespace(**vars(plan) | {"overwrite": False}))  # all is done, it only makes the tables


def _run_cells(plan: argparse.Namespace) -> None:
    datasets = Datasets()
    distributed.decided(lambda: _check(plan, datasets))
    experiment = import_module(f"Experiments.{plan.experiment.replace('-', '_')}")
    failed = []
    for number, cell in enumerate(plan.cells, 1):
        folder = path_of(cell.options)
        if not plan.overwrite and distributed.decided(lambda folder=folder: state_of(folder).status) == "done":
            continue
        print(f"[{number}/{len(plan.cells)}] {cell.name}")
        try:
            experiment.run(cell.options, datasets)
        except RunFailed as error:
            if not isinstance(error.__cause__, Diverged):  # else all processes know, and can go on
                raise
            print(f"FAILED {cell.name}: {error}")
            failed.append(cell.name)
    if failed:
        raise RunFailed(f"{len(failed)} of {len(plan.cells)} cells failed: {', '.join(failed[:3])}{', ...' * (len(failed) > 3)}")


def _check(plan: argparse.Namespace, datasets: Datasets) -> None:
    if plan.no_save:
        raise Refused("--no-save: a grid is the folder that it writes")
    check_writable(path_of(plan))
    check_grid_folder(path_of(plan), plan)
    OwnFiles(path_of(plan)).check(GRID)
    alone.check_cells(plan, datasets)
