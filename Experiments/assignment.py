"""Assignment: run all parts of a course assignment as one grid, then write its report."""

from __future__ import annotations

from Utils.base.errors import RunFailed
from Utils.base.files import check_writable
from Utils.base.text import print_lines
from Utils.grid import run as grid
from Utils.grid.grid_table import read_grid
from Utils.options.types import Grid
from Utils.runs.places import path_of

EXPERIMENT = {
    "summary": "--preset NAME|FILE.toml: everything that a course assignment asks for, as one grid, then the report",
    "reads": ("assignment", "grid", "stacks", "seed list", "data", "device", "verbose", "save"),
    "kind": "assignment",
}

REPORT = "report"  # the folder beside the cells


def run(plan: Grid) -> None:
    """Run the cells that are not done, then write the report into the grid's folder.

    See `Utils.options.assignment.plan` for the cells. The report lists failed cells, and the command ends as a grid's does. As
    long as cells of this plan are pending, as on a cluster, it does not write the report.

    Raises:
        Refused: a cell is impossible; no file was written.
        RunFailed: some cells failed; the others are done, and the report is written.
    """
    failure = None
    check_writable(path_of(plan) / REPORT)
    try:
        grid.run(plan)
    except RunFailed as error:
        failure = error
    if not plan.dry_run:
        _write_report(plan)
    if failure:
        raise failure


def _write_report(plan: Grid) -> None:
    folder = path_of(plan)
    if not (folder / "grid.csv").is_file():  # it could not be written; an error has said so
        return
    table = read_grid(folder / "grid.csv")
    states, own = table["status"], table["cell"].isin([cell.name for cell in plan.cells])
    left = int(states[own].isin(("pending", "running")).sum())
    if left:
        print(f"The report is written once all cells have ended: {left} are to come. The same command shows how far they are.")
    elif (states == "done").any():
        from Utils.report.document import write_report

        print_lines(write_report(folder / REPORT, [folder]))
        print(f"Report: {folder / REPORT / 'report.html'}")
