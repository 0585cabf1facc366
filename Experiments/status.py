"""Status: show how far the cells of grids and single runs are, and when they will be done."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from Utils.base.errors import Refused, RunFailed
from Utils.base.files import writable
from Utils.base.text import print_lines
from Utils.grid.status import Group, RunProgress, groups_of, seconds_left
from Utils.options.types import Options

EXPERIMENT = {
    "summary": "how far the cells of grids and single runs are: --run FOLDER ...",
    "reads": ("run",),
    "kind": "saved runs",
    "prints_alone": True,
}

STATUSES = ("done", "running", "pending", "failed")


def run(options: Options) -> None:
    """Print a table of the cells of each grid in `--run FOLDER ...`, and one of the single runs.

    It writes no file. A folder without a run, or one that cannot be read, is listed.

    Raises:
        Refused: there is no run in any of the folders.
        RunFailed: there is none that can be read.
    """
    groups, bad = groups_of(options.run)
    unreadable = [folder for folder, error in bad.items() if isinstance(error, OSError)]
    if unreadable and not groups:
        raise RunFailed(f"--run {unreadable[0]}: cannot be read: {bad[unreadable[0]].strerror}")
    if not groups:
        raise Refused(f"--run {' '.join(map(str, options.run))}: no run there (args.json is missing or cannot be read)")
    print_lines(note for group in groups for row in group.rows for note in row.state.notes)
    for group in groups:
        _print(group)
    for folder, error in bad.items():
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else error
        print(writable(f"{folder}: {reason}"))


def _print(group: Group) -> None:
    counts = ", ".join(f"{group.count(status)} {status}" for status in STATUSES)
    print(writable(f"{group.folder or 'Single runs'}: {counts}{_time_left(group)}"))
    if group.rows:
        frame = pd.DataFrame([_row(row) for row in group.rows])
        print(writable(frame.to_string(index=False, na_rep="", float_format="%.2f")))


def _time_left(group: Group) -> str:
    """Say in words when the rest will be done; "" if all runs are done."""
    if not group.count("running") + group.count("pending"):
        return ""
    seconds, unknown = seconds_left(group.rows)
    if seconds is None:
        return f"; time left unknown: {unknown}"
    running = max(group.count("running"), 1)
    left = f"; about {tqdm.format_interval(seconds / running)} left at {running} at a time, by the epochs measured here"
    return left + (f" ({unknown})" if unknown else "")


def _row(row: RunProgress) -> dict[str, object]:
    summary, total = row.state.summary, row.total
    spent = summary.get("seconds")
    top1 = summary.get("top1_last")
    return {
        "cell": row.name,
        "status": row.state.status,
        "epochs": f"{min(row.progress.epochs, sum(total))}/{sum(total)}" if total else "",
        "top-1 (%)": row.progress.top1 if top1 is None else top1,
        "seconds": sum(filter(None, spent.values())) if spent else row.progress.seconds or None,
        "reason": row.state.reason,
    }
