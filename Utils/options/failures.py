"""The reason why a command or a run failed, in one line that names the options to change."""

from __future__ import annotations

import sys
import traceback

from Pruners import load
from Utils.base.errors import RunFailed, not_deterministic, out_of_memory
from Utils.base.text import flag_of, one_line
from Utils.options.types import Command, Listing, Options


def print_unexpected(error: Exception, command: Command | None) -> None:
    """Print the error that ended a command outside any run, in one line; with `--verbose`, print its traceback first."""
    options = None if isinstance(command, Listing) else command
    if options and options.verbose:
        traceback.print_exception(error)
    print(f"main.py: error: {one_line(_last_word(error, options))}", file=sys.stderr)


def _last_word(error: Exception, options: Options | None) -> str:
    if out_of_memory(error):
        return failure(error, options) if options else "out of memory"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    where = "; --verbose shows where it came from" if options and options.reads("verbose") else ""
    return f"unexpected {type(error).__name__}: {error}{where}"


def failure(error: Exception, options: Options) -> str:
    """Explain in one line why a run failed.

    For a lack of memory the line names the batch sizes, for an error of the network it names the network.
    """
    text = one_line(str(error))
    if isinstance(error, RunFailed):
        return text
    if out_of_memory(error):
        sizes = [f"{flag_of(name)} {options.record()[name]}" for name in _batch_sizes(options)]
        return f"out of memory{' with ' * bool(sizes)}{', '.join(sizes)}"
    if not_deterministic(error):
        what = text.partition(" does not have")[0]
        return f"--model {options.model} cannot be computed with --deterministic on this device: torch has no such form of {what}"
    return f"--model {options.model} failed: {type(error).__name__}: {text}"


def _batch_sizes(options: Options) -> list[str]:
    """List the batch-size options that the run reads; that of scoring only if the method reads images."""
    named = [name for name in options.record() if name.endswith("_batch_size")]
    scores_images = options.reads("prune") and load(options.pruner).needs_data
    return [name for name in named if name != "prune_batch_size" or scores_images]
