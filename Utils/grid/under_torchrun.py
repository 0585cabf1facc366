"""A grid under torchrun: its cells run one after the other, each on all processes; then one table is made of all."""

from __future__ import annotations

from dataclasses import replace

from Utils.base.errors import RunFailed
from Utils.compute import processes
from Utils.compute.torchrun import process_group
from Utils.data.open_set import Datasets
from Utils.grid.grid_folder import begin_grid, read_states, state_of
from Utils.grid.run import check_grid
from Utils.grid.tables import failed_cells, save_tables
from Utils.options.experiments import module_of
from Utils.options.types import Grid
from Utils.runs.places import path_of, say_elsewhere
from Utils.training.phase import Diverged


def run(plan: Grid) -> None:
    """Run the cells of `plan` that are not done, then write and print the grid's tables in one process.

    A failure ends all processes, unless a training diverged in all of them alike: then the other cells continue.

    Raises:
        Refused: a cell is impossible; no file was written.
        RunFailed: a cell failed; the same command continues there.
    """
    with process_group(plan.no_cuda):
        collects = processes.is_first()
        _run_cells(plan)
    if collects:
        folder = path_of(plan)
        say_elsewhere(plan)
        earlier = begin_grid(plan, folder)
        ended = replace(plan, overwrite=False)  # with overwrite, its cells would count as pending
        save_tables(plan, folder, read_states(ended, {}), earlier)


def _run_cells(plan: Grid) -> None:
    datasets = Datasets()
    processes.decided(lambda: check_grid(plan, datasets))
    experiment = module_of(plan.experiment)
    failed = []
    for number, cell in enumerate(plan.cells, 1):
        folder = path_of(cell.options)
        if not plan.overwrite and processes.decided(lambda folder=folder: state_of(folder).status) == "done":
            continue
        print(f"[{number}/{len(plan.cells)}] {cell.name}")
        try:
            experiment.run(cell.options, datasets)
        except RunFailed as error:
            if not isinstance(error.__cause__, Diverged):  # a divergence is known to all processes, which can continue
                raise
            print(f"FAILED {cell.name}: {error}")
            failed.append(cell.name)
    if failed:
        raise failed_cells(failed, len(plan.cells))
