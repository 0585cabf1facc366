"""A grid from beginning to end: check every cell, run the unfinished ones, collect `grid.csv`, name the failures."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from Pruners import DENSE
from Pruners._shared.distributions import Layer
from Pruners._shared.scopes import layers_of
from Utils.base.errors import Refused
from Utils.base.files import check_writable
from Utils.base.text import print_lines
from Utils.compute.compilation import check_compiler
from Utils.compute.device import device_of
from Utils.compute.precision import Precision
from Utils.data.open_set import Datasets
from Utils.grid.cell import Outcome, run_cell
from Utils.grid.grid_folder import State, begin_grid, check_grid_folder, read_states, state_of, write_grid
from Utils.grid.print_estimate import print_estimate, print_estimate_of_run
from Utils.grid.stack import Stack, note_on_stack, size_of_stack
from Utils.grid.tables import save_tables
from Utils.grid.workers import Workers
from Utils.options.experiments import module_of
from Utils.options.table import of_parts
from Utils.options.types import Cell, Grid, Options
from Utils.runs.dense_cache import dense_path
from Utils.runs.manifest import GRID, OwnFiles, names_of
from Utils.runs.places import path_of, say_elsewhere
from Utils.runs.saved_options import check_same
from Utils.training.set_up import check_budget, load_pruner, prepare

CPU = torch.device("cpu")
Run = Callable[[Sequence[Cell]], Iterator[tuple[Cell, Outcome]]]


def run(plan: Grid) -> None:
    """Run the cells of `plan` that are not done, or submit them to Slurm; print and save their table.

    Raises:
        Refused: a cell is impossible; no file was written.
        RunFailed: some cells failed; the others are done.
    """
    folder, datasets = path_of(plan), Datasets()
    check_grid(plan, datasets)
    queued = _in_queue(plan, folder)  # read before the folders, so that a cell that ends meanwhile counts as done, not as lost
    states = read_states(plan, queued)
    if plan.dry_run:
        for cell in plan.cells:
            state = states[cell.name]
            print(f"  {cell.name}: {state.status}{f' ({state.reason})' if state.reason else ''}")
        print_estimate(plan, states, datasets)
        return
    if plan.launcher == "slurm":
        _hand_over(plan, folder, states, queued)  # first, so that a submission that Slurm refuses leaves no file behind
    say_elsewhere(plan)
    earlier = begin_grid(plan, folder)
    size = size_of_stack(plan)
    if plan.launcher == "local" and plan.jobs > 1:
        del datasets  # each worker reads its own
        with Workers(plan.jobs, size) as workers:
            run_in_processes = lambda cells: workers.run(_longest_first(cells), _prefer_untrained)  # noqa: E731
            _run_all(plan, folder, states, earlier, run_in_processes, lambda: workers.running)
    elif plan.launcher == "local" and size > 1:
        stack = Stack(size, datasets)
        run_at_once = lambda cells: stack.run(_longest_first(cells), _prefer_untrained)  # noqa: E731
        _run_all(plan, folder, states, earlier, run_at_once, lambda: stack.begun)
    elif plan.launcher == "local":
        _run_all(plan, folder, states, earlier, lambda cells: _in_turn(cells, datasets), lambda: 1)
    save_tables(plan, folder, states, earlier)


def show(options: Options) -> None:
    """Print the folder of a single run, its status, and how long it still takes."""
    if options.reads("prune"):
        load_pruner(options)
    state = state_of(path_of(options))
    print_lines(state.notes)
    print(f"{path_of(options)}: {state.status}")
    if state.status != "done" or options.overwrite:
        print_estimate_of_run(options)


def check_grid(plan: Grid, datasets: Datasets) -> None:
    """Refuse a grid whose folder cannot be written or holds something else, or one of whose cells is impossible.

    Raises:
        Refused: no file was written.
    """
    if plan.no_save:
        raise Refused("--no-save: a grid is the folder that it writes")
    folder = path_of(plan)
    check_writable(folder)
    check_grid_folder(folder, plan)
    OwnFiles(folder).check(GRID)
    _check_cells(plan, datasets)


def _check_cells(plan: Grid, datasets: Datasets) -> None:
    """Refuse the first cell with impossible options, shape or budget; each network is built, and the data read, once."""
    layers: dict[str, list[Layer]] = {}
    regrown: set[str] = set()
    notes: set[str] = set()
    for cell in plan.cells:
        options = cell.options
        try:
            pruner = load_pruner(options) if options.reads("prune") else None
            folder = path_of(options)
            if (folder / "args.json").exists() and not plan.overwrite:
                notes.add(check_same(folder, options))
            if not (folder / "summary.json").exists() or plan.overwrite:
                check_writable(folder)
                OwnFiles(folder).check(names_of(options.record()))
            device = device_of(options)
            if options.compile and plan.launcher == "local":
                check_compiler(device)
            if pruner is None:  # its network is that of a saved run
                kind = str({k: v for k, v in options.record().items() if k not in ("seed", "split_seed", "expid")})
                if options.experiment == "regrow" and kind not in regrown and not (folder / "summary.json").exists():
                    module_of(options.experiment).check(options, datasets)  # as its `run` would
                    regrown.add(kind)  # the checks do not depend on the seed
                continue
            data = datasets.open(options, CPU)
            network = str([getattr(options, name) for name in of_parts("dataset", "image", "network", "model", "prunable")])
            if network not in layers:
                masked = prepare(options, CPU, data)
                layers[network] = layers_of(masked.prunables)
                notes.add(note_on_stack(options, masked.model))
            check_budget(options, layers[network])
            if not plan.dry_run and plan.launcher == "local" and (options.reads("epochs") or pruner.needs_data):
                data.load()
        except Refused as error:
            raise Refused(f"cell {cell.name}: {error}") from error
    for note in sorted(notes - {""}):
        print(note)


def _in_turn(cells: Sequence[Cell], datasets: Datasets) -> Iterator[tuple[Cell, Outcome]]:
    for cell in cells:
        yield cell, run_cell(cell.options, datasets, quiet=False)


def _longest_first(cells: Sequence[Cell]) -> list[Cell]:
    """Sort cells by the number of their epochs, dense training included where it is to be done.

    Cells of density 1 come last: they may take over the training of the dense cell.
    """

    def epochs(cell: Cell) -> int:
        path = _dense_path(cell)
        if cell.options.density == 1 and cell.options.pruner != DENSE:
            return 0
        return cell.options.post_epochs + (cell.options.pre_epochs if path and not path.exists() else 0)

    return sorted(cells, key=epochs, reverse=True)


def _prefer_untrained(waiting: Sequence[Cell], running: Sequence[Cell]) -> Cell:
    """Choose the first cell that need not wait for a dense training that a running cell may be doing."""
    paths = ((cell, _dense_path(cell)) for cell in waiting)
    busy = {_dense_path(cell) for cell in running}
    return next((cell for cell, path in paths if path is None or path not in busy or path.exists()), waiting[0])


def _dense_path(cell: Cell) -> Path | None:
    """Return the file of a cell's dense network, without touching the card that a worker computes on."""
    return dense_path(cell.options, Precision.of(cell.options, device_of(cell.options), touch=False))


def _run_all(
    plan: Grid,
    folder: Path,
    states: dict[str, State],
    earlier: Sequence[dict[str, Any]],
    run_cells: Run,
    running: Callable[[], int],
) -> None:
    """Run the unfinished cells, and wait for those that another process is running."""
    left = [cell for cell in plan.cells if states[cell.name].status != "done"]
    before = ended = len(plan.cells) - len(left)
    failed, told, began = 0, False, time.monotonic()
    write_grid(folder, plan.cells, states, earlier)
    with tqdm(total=len(plan.cells), initial=ended, desc="cells", unit="cell", disable=None) as bar:
        while left:
            busy = []
            for cell, outcome in run_cells(left):
                if outcome.status == "busy":
                    busy.append(cell)
                    continue
                state = state_of(path_of(cell.options))
                print_lines(state.notes)
                states[cell.name] = state if outcome.status == "done" else State("failed", outcome.reason, state.summary)
                failed += outcome.status == "failed"
                ended += 1
                bar.update()
                bar.set_postfix_str(f"{running()} running, {failed} failed")
                remaining = (time.monotonic() - began) / (ended - before) * (len(plan.cells) - ended)
                left_text = f"; about {tqdm.format_interval(remaining)} left" if remaining >= 1 else ""
                bar.write(f"[{ended}/{len(plan.cells)}] {cell.name}: {_line(states[cell.name])}{left_text}")
                write_grid(folder, plan.cells, states, earlier)
            left = busy
            if left:
                if not told:
                    bar.write(f"Waiting for {len(left)} cells that another process is running: {left[0].name}, ...")
                told = True
                time.sleep(1)


def _line(state: State) -> str:
    if state.status != "done":
        return f"{state.status}: {state.reason}"
    accuracy = state.summary.get("top1_last")
    seconds = sum(state.summary.get("seconds", {}).values())
    return f"done, {'' if accuracy is None else f'top-1 {accuracy:.2f} %, '}{seconds:.1f} s"


def _hand_over(plan: Grid, folder: Path, states: dict[str, State], queued: Collection[str]) -> None:
    """Submit the cells that are neither done nor in Slurm's queue; failed ones only once all others have ended."""
    from Utils.grid import slurm

    again = ("pending",) if queued else ("pending", "failed")
    left = [c for c in plan.cells if states[c.name].status in again and c.name not in queued]
    for name, reason in slurm.outcomes(folder, [c.name for c in left if states[c.name].status == "pending"]).items():
        print(f"LOST {name}: {reason}")
    if left:
        job = slurm.submit(left, folder, plan)
        print(f"Submitted {len(left)} cells as Slurm job {job}; the same command shows how far they are")


def _in_queue(plan: Grid, folder: Path) -> dict[str, State]:
    """Return the states of the cells that Slurm still has, with its reason why a cell waits."""
    if plan.launcher != "slurm":
        return {}
    from Utils.grid import slurm

    slurm.check(plan)
    return {name: State(status, reason) for name, (status, reason) in slurm.waiting(folder).items()}
