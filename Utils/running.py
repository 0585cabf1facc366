"""What a run does when something goes wrong: its folder says why."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from Utils.errors import Refused, RunFailed, failure
from Utils.results import RunFolder
from Utils.setup import choose_device
from Utils.summary import failed_summary
from Utils.torchrun import common_reason
from Utils.training import Diverged


def attempt(work: Callable[[], None], folder: RunFolder) -> None:
    """Do the work of a run; an error becomes a `failed` summary, with the rows of a training that diverged.

    Raises:
        Refused: nothing was written.
        RunFailed: everything else; --verbose shows where it came from.
    """
    options = folder.options
    try:
        work()
    except Refused:
        raise
    except (Exception, SystemExit) as error:  # a network of one's own may raise anything
        if options.verbose:
            traceback.print_exc()
        reason = failure(error, options)
        if not isinstance(error, Diverged):  # else all processes of the run fail alike, and none in the middle of something
            reason = common_reason(reason, error)
        folder.begin(choose_device(options))  # does nothing where the run had begun
        if isinstance(error, Diverged):
            folder.write_table(f"{error.phase.replace('_', '-')}.csv", error.rows)
        folder.finish(failed_summary(folder, reason))
        raise RunFailed(reason) from error
