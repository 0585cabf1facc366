"""Access to the network with a bounded time of silence, or no access at all."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from Utils.base.errors import Refused

PATIENCE = 7.0  # seconds of silence, summed over all files and mirrors of one set, after which the network counts as dead


class PatientOpener:
    """Opens URLs like `urllib.request`'s own opener, but gives up after `patience` seconds of silence in total.

    A name server that does not answer ignores socket timeouts, so the opening runs in a daemon thread. The time of failed
    attempts is subtracted from the patience. A refused connection therefore costs next to nothing, and the caller tries the next
    mirror; after one silence every further attempt fails at once.
    """

    def __init__(self, patience: float = PATIENCE, inner: Any = None):
        self.left = patience
        self._inner = inner or urllib.request.build_opener()

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        """Open `fullurl` (a text or a `Request`) and return the response.

        `timeout` is accepted for the callers' sake and not used: the patience that is left bounds the wait.

        Raises:
            URLError: the server refuses, is unreachable, or does not answer.
        """
        if self.left <= 0:
            raise urllib.error.URLError("the network does not answer")
        outcome: dict[str, Any] = {}
        given_up = threading.Event()
        patience, start = self.left, time.monotonic()

        def attempt() -> None:
            try:
                outcome["response"] = self._inner.open(fullurl, data, patience)
                if given_up.is_set():
                    outcome["response"].close()
            except Exception as error:
                outcome["error"] = error

        thread = threading.Thread(target=attempt, daemon=True)
        thread.start()
        thread.join(patience)
        if "response" in outcome:
            return self._watched(outcome["response"])
        given_up.set()
        error = outcome.get("error")
        if isinstance(error, urllib.error.HTTPError):
            raise error
        self.left = 0 if error is None or _is_timeout(error) else self.left - (time.monotonic() - start)
        if error is None or _is_timeout(error):
            raise urllib.error.URLError("no answer")
        raise error if isinstance(error, OSError) else urllib.error.URLError(f"{type(error).__name__}: {error}")

    def _watched(self, response: Any) -> Any:
        """Return `response`, whose failing reads use up the patience too."""
        read = response.read

        def watched_read(*args: Any) -> bytes:
            try:
                return read(*args)
            except OSError:
                self.left = 0
                raise

        with suppress(AttributeError):
            response.read = watched_read
        return response


class _ClosedOpener:
    """A stand-in for the network where `--no-download` forbids it."""

    def open(self, fullurl: Any, data: Any = None, timeout: Any = None) -> Any:
        url = getattr(fullurl, "full_url", fullurl)
        raise Refused(f"{url} would have to be downloaded, but --no-download was given")


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)


@contextmanager
def bounded_network(allow: bool, *, patience: float = PATIENCE) -> Iterator[None]:
    """Bound everything inside that goes through `urllib.request.urlopen` (the downloads of torchvision and torch.hub).

    With `allow`, a dead network raises `URLError` after at most `patience` seconds of silence in total. Without it, any use of
    the network raises `Refused` at once. At the end the opener that was installed before is restored.
    """
    before = urllib.request._opener  # type: ignore[attr-defined]
    urllib.request.install_opener(PatientOpener(patience, before) if allow else _ClosedOpener())  # type: ignore[arg-type]
    try:
        yield
    finally:
        urllib.request.install_opener(before)
