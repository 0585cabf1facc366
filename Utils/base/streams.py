"""Standard output and standard error: printable text only, and a lost stream does not end the work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

KEPT = "\n\t\r"
UP = "\x1b[A"  # progress bars go back to their line with it
REPLACED = "\N{REPLACEMENT CHARACTER}"


def cleaned(text: str) -> str:
    """Replace characters that move a terminal's cursor, colour it or reverse the direction of writing, and bad Unicode.

    Line breaks and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in KEPT else REPLACED for c in text)


def open_closed_streams() -> None:
    """Connect the standard streams that a shell closed (`>&-`) to the null device.

    Otherwise the next file to be opened would get their number.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one


class Shown:
    """A text stream that cleans its text and survives the loss of its target.

    A full disk or a closed stream sets `lost`, and the work continues. A pipe whose reader is gone raises `BrokenPipeError`.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self.lost = stream, stream is None

    def write(self, text: str) -> int:
        """Write `text` as `cleaned` makes it, and return its length."""
        moves = not text.replace(UP, "").strip(KEPT)
        self._do(lambda: self._stream.write(text if moves else cleaned(text)))
        return len(text)

    def flush(self) -> None:
        """Pass on the text written so far."""
        self._do(lambda: self._stream.flush())

    def isatty(self) -> bool:
        """Tell whether a terminal shows this."""
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
            with suppress(OSError, ValueError):  # the rest of its buffer must not fail again when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
                self._stream.flush()

    @property
    def encoding(self) -> str:
        """The encoding that turns text into bytes."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def fileno(self) -> int:
        """Return the number of the file; raise `OSError` where there is none."""
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()


@contextmanager
def shown_streams() -> Iterator[Shown]:
    """Replace standard output and standard error by a `Shown` each inside, and give the one for standard output."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, _ = Shown(sys.stdout), Shown(sys.stderr)
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before
