"""One cell, run in this process: its output goes to its log, its failure to its summary."""

from __future__ import annotations

import contextlib
import sys
import traceback
from typing import NamedTuple

from Utils.base.errors import Refused, RunFailed
from Utils.base.locks import is_locked
from Utils.base.text import one_line
from Utils.compute.device import device_of
from Utils.data.open_set import Datasets
from Utils.options.experiments import module_of
from Utils.options.failures import failure
from Utils.options.types import Options
from Utils.runs.folder import Busy, RunFolder
from Utils.runs.manifest import LOG
from Utils.runs.places import path_of
from Utils.runs.run_files import alone_in
from Utils.runs.summary import failed_summary


class Outcome(NamedTuple):
    """The end of a cell: `done`, `failed` with a reason, or `busy` if another process is running it."""

    status: str
    reason: str = ""


def run_cell(options: Options, datasets: Datasets | None = None, *, quiet: bool = True) -> Outcome:
    """Run one cell, from its last checkpoint if it has one; its output goes to `log.txt` in its folder.

    `quiet` sends its progress bar there too, as lines; so it goes where no terminal shows it. Only an interrupt is raised.
    """
    folder = path_of(options)
    if is_locked(folder / ".lock"):
        return Outcome("busy")
    try:
        with alone_in(folder, 1) as own:
            own.add([LOG])
    except (Refused, RunFailed) as error:
        return Outcome("busy") if is_locked(folder / ".lock") else Outcome("failed", str(error))
    try:
        with open(folder / LOG, "a", buffering=1, encoding="utf-8") as log, contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(log))
            if quiet or not sys.stderr.isatty():
                stack.enter_context(contextlib.redirect_stderr(log))
            return _run(options, datasets)
    except OSError as error:
        return Outcome("failed", f"cannot write {folder}: {error.strerror or error}")


def _run(options: Options, datasets: Datasets | None) -> Outcome:
    try:
        module_of(options.experiment).run(options, datasets)
    except Busy:
        return Outcome("busy")
    except RunFailed as error:  # the run has noted this in its folder, if that could be written
        return Outcome("failed", str(error))
    except (Exception, SystemExit) as error:
        traceback.print_exc(file=sys.stdout)
        reason = str(error) if isinstance(error, Refused) else failure(error, options)
        return record_failure(options, reason)
    return Outcome("done")


def record_failure(options: Options, reason: str) -> Outcome:
    """Write a `failed` summary for a cell that could not do so itself. Its checkpoint stays."""
    with contextlib.suppress(Refused, RunFailed), RunFolder(options) as folder:
        if not folder.finished:
            if folder.resume(goes_on=False) is None:
                folder.begin(device_of(options))
            folder.finish(failed_summary(folder, reason))
    return Outcome("failed", one_line(reason))
