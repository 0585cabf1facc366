"""Why a command or a run failed, in one line that names the options to change."""

from __future__ import annotations

import sys
import traceback
from argparse import Namespace

from Pruners import load
from Utils.base.errors import RunFailed, not_deterministic, out_of_memory
from Utils.base.text import one_line


def print_unexpected(error: Exception, options: Namespace | None) -> None:
    """Say in one line what ended a command outside any run, with `--verbose` after its traceback."""
    if getattr(options, "verbose", False):
        traceback.print_exception(error)
    print(f"main.py: error: {one_line(_last_word(error, options))}", file=sys.stderr)


def _last_word(error: Exception, options: Namespace | None) -> str:
    if out_of_memory(error):
        return failure(error, options or Namespace())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    where = "; --verbose shows where it came from" if "verbose" in (options or ()) else ""
    return f"unexpected {type(error).__name__}: {error}{where}"


def _reads_images(options: Namespace) -> bool:
    """Whether the pruning method reads images, so that its batch size matters."""
    return "pruner" in options and load(options.pruner).needs_data


def failure(error: Exception, options: Namespace) -> str:
    """Why a run failed, in one line: out of memory names the batch size, an error of the network names the network."""
    text = one_line(str(error))
    if isinstance(error, RunFailed):
        return text
    if out_of_memory(error):
        named = [k for k in vars(options) if k.endswith("_batch_size") and (k != "prune_batch_size" or _reads_images(options))]
        sizes = [f"--{k.replace('_', '-')} {getattr(options, k)}" for k in named]
        return f"out of memory{' with ' * bool(sizes)}{', '.join(sizes)}"
    if not_deterministic(error):
        what = text.partition(" does not have")[0]
        return f"--model {options.model} cannot be computed with --deterministic on this device: torch has no such form of {what}"
    return f"--model {options.model} failed: {type(error).__name__}: {text}"
