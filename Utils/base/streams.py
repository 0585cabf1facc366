"""Standard output and standard error of a command: text that a terminal can show, and a loss that ends no work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

KEPT = "\n\t\r"
UP = "\x1b[A"  # with which progress bars go back to their line
REPLACED = "\N{REPLACEMENT CHARACTER}"


def cleaned(text: str) -> str:
    """Replace what moves a terminal's cursor, colours it, turns the direction of writing, or is no Unicode; lines stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in KEPT else REPLACED for c in text)


def open_closed_streams() -> None:
    """Give the standard streams that a shell closed (`>&-`) to the null device: the next open file would have their number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


class Shown:
    """A text stream that cleans what it is given, and that goes on without its reader.

    A full disk or a closed stream is noted in `lost` and ends nothing. A pipe whose reader has gone raises `BrokenPipeError`.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self.lost = stream, stream is None

    def write(self, text: str) -> int:
        """Write `text` as `cleaned` makes it; returns its length."""
        moves = not text.replace(UP, "").strip(KEPT)
        self._do(lambda: self._stream.write(text if moves else cleaned(text)))
        return len(text)

    def flush(self) -> None:
        """Hand over what is written so far."""
        self._do(lambda: self._stream.flush())

    def isatty(self) -> bool:
        """Whether a terminal shows this."""
        return not self.lost and self._stream.isatty()

    def _do(self, work: Any) -> None:
        if self.lost:
            return
        try:
            work()
        except BrokenPipeError:
            raise
        except (OSError, ValueError):  # ValueError: it was closed
            self.lost = True
            with suppress(OSError, ValueError):  # what is left in its buffer must not fail again when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
                self._stream.flush()

    @property
    def encoding(self) -> str:
        """How text becomes bytes."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """The number of the file; raises `OSError` where there is none."""
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()


@contextmanager
def shown_streams() -> Iterator[Shown]:
    """Inside, standard output is a `Shown`, which this gives, and standard error another."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, _ = Shown(sys.stdout), Shown(sys.stderr)
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
