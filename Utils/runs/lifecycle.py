"""The beginning and the end of a run: it runs once, and a failure is noted in its folder."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable

from Pruners._shared.base import Pruner
from Pruners._shared.loop import Unscorable
from Utils.base.errors import Refused, RunFailed
from Utils.base.progress_bar import shown_progress
from Utils.compute.device import device_of
from Utils.compute.processes import is_first
from Utils.compute.torchrun import common_reason
from Utils.data.open_set import Datasets
from Utils.options.failures import failure
from Utils.options.types import Options
from Utils.runs.folder import RunFolder
from Utils.runs.printing import print_saved
from Utils.runs.summary import failed_summary
from Utils.training.phase import Diverged
from Utils.training.set_up import load_pruner


def run_once(
    options: Options, datasets: Datasets | None, work: Callable[[Options, Pruner, RunFolder, Datasets], None]
) -> None:
    """Do `work` in the run's folder, or print the results in a finished folder; errors as in `attempt`."""
    pruner = load_pruner(options)
    once(
        options, datasets, lambda folder, datasets: work(folder.options, pruner, folder, datasets),
        lambda folder: print_saved(folder.path),
    )  # fmt: skip


def once(
    options: Options,
    datasets: Datasets | None,
    work: Callable[[RunFolder, Datasets], None],
    print_again: Callable[[RunFolder], object],
) -> None:
    """Do `work` in the folder of these options, or call `print_again` if it is finished; errors as in `attempt`."""
    with RunFolder(options) as folder:
        if folder.finished:
            print_again(folder)
        else:
            attempt(lambda: work(folder, datasets or Datasets()), folder)


def attempt(work: Callable[[], None], folder: RunFolder) -> None:
    """Do the work of a run; turn an error into a `failed` summary, with the rows of a training that diverged.

    Raises:
        Refused: no file was written; this includes a network that cannot be scored, if the folder has not begun.
        RunFailed: every other error; --verbose shows its origin.
    """
    options = folder.options
    try:
        with shown_progress(is_first()):
            work()
    except Refused:
        raise
    except (Exception, SystemExit) as error:  # a user's own network may raise anything
        if isinstance(error, Unscorable) and not folder.begun:
            raise Refused(str(error)) from error
        if options.verbose:
            traceback.print_exc()
        reason = failure(error, options)
        if not isinstance(error, Diverged):  # a divergence ends all processes of the run alike
            reason = common_reason(reason, error)
        with contextlib.suppress(Refused, RunFailed):  # a full or missing disk cannot keep the reason
            folder.begin(device_of(options))  # does nothing if the run had begun
            if isinstance(error, Diverged):
                folder.write_table(f"{error.phase.replace('_', '-')}.csv", error.rows)
            folder.finish(failed_summary(folder, reason))
        raise RunFailed(reason) from error
