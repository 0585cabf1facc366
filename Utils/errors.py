"""The ways a command ends without a result; `main.py` prints one line for each."""

from __future__ import annotations

import sys
import traceback
from argparse import Namespace


def one_line(text: str) -> str:
    """`text` as a terminal can show it: in one line, without escape sequences and other control characters."""
    joined = " ".join(text.split())
    return joined if joined.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in joined)


def shown(name: object) -> str:
    """A name, such as a path, as a terminal can show it in one line: with a mark for each control character."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(name))


class Refused(ValueError):
    """The command asks for something that cannot be: exit status 2, nothing is written.

    The message is one line that names the value and the choices.
    """


class RunFailed(Exception):
    """A run that had begun could not be finished (diverged, disk full, ...): exit status 1."""


def status_of(error: BaseException) -> int:
    """The exit status of a process that ends with `error`."""
    if isinstance(error, SystemExit):
        return int(error.code or 0)
    return 2 if isinstance(error, Refused) else 130 if isinstance(error, KeyboardInterrupt) else 1


class Terminated(BaseException):
    """SIGTERM, which unwinds the stack as SIGINT does, so that no half-written file stays."""


def out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, on whichever device."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in ("out of memory", "can't allocate memory"))


def not_deterministic(error: Exception) -> bool:
    """Whether an operation was asked for, under `--deterministic`, that torch has not in a deterministic form."""
    return "does not have a deterministic implementation" in str(error)


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
    from Pruners import load  # late: the errors of a command that needs no method are told without torch

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
