"""The ways in which a command ends without a result; `main.py` prints one line for each."""

from __future__ import annotations


class Refused(ValueError):
    """The command asks for something impossible: the exit status is 2, and the program writes no file.

    The message is one line that names the value and the choices.
    """


class RunFailed(Exception):
    """A run that had begun could not be finished (diverged, disk full, ...): the exit status is 1."""


def status_of(error: BaseException) -> int:
    """Return the exit status of a process that ends with `error`."""
    if isinstance(error, SystemExit):
        return int(error.code or 0)
    return 2 if isinstance(error, Refused) else 130 if isinstance(error, KeyboardInterrupt) else 1


class Terminated(BaseException):
    """SIGTERM, which unwinds the stack as SIGINT does, so that no half-written file stays."""


def out_of_memory(error: Exception) -> bool:
    """Tell whether an allocation failed, on whichever device."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in ("out of memory", "can't allocate memory"))


def not_deterministic(error: Exception) -> bool:
    """Tell whether `--deterministic` asked for an operation that torch does not have in a deterministic form."""
    return "does not have a deterministic implementation" in str(error)
