"""Locks that the system releases when their process dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from Utils.base import turns
from Utils.base.errors import Refused, RunFailed

SOFT = re.compile(rb"\d+\n[\w.-]+\n(\d+\n)?")  # on a disk without locks the file names the holder

LONGEST = 1024  # bytes of such a file


class Lock:
    """A lock on `path`; one process holds it at a time, and the system releases it when that process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)

    def take(self, seconds: float = -1) -> bool:
        """Wait for the lock for up to `seconds` (-1: without limit), and tell whether it is held now.

        Raises:
            Refused: another kind of file has its name.
            RunFailed: the file cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_lock(self.path)
            while not self._acquire(seconds):
                if seconds >= 0 or not turns.pause():
                    return False
        except OSError as error:
            raise RunFailed(f"cannot write {self.path}: {error.strerror or error}") from error
        return True

    def _acquire(self, seconds: float) -> bool:
        """Wait for the lock; a thread that takes turns does not wait, as its holder may be one of the others."""
        try:
            self._lock.acquire(timeout=0 if seconds < 0 and turns.among_others() else seconds, poll_interval=0.1)
        except Timeout:
            return False
        return True

    @property
    def held(self) -> bool:
        """Tell whether this object holds the lock."""
        return self._lock.is_locked

    def leave(self) -> None:
        """Release the lock and remove its file, if it is held."""
        if self.held:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._lock.release(force=True)


def check_lock(path: Path) -> None:
    """Refuse an existing `path` that is no lock: locking would empty it, and remove it in the end.

    Raises:
        Refused: `path` is a link, not a file, or a file with content that no lock has.
    """
    with contextlib.suppress(OSError):  # its holder may remove the file at any time
        foreign = path.is_symlink() or (path.exists() and not path.is_file())
        if not foreign and path.stat().st_size:
            with open(path, "rb") as file:
                foreign = not SOFT.fullmatch(file.read(LONGEST))
        if foreign:
            raise Refused(f"{path} is no lock of this program, which locks a file of that name: take it away")


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock on `path`.

    Only the system's report that another process holds it counts. A file that cannot be opened or written (on a read-only disk,
    in another user's folder) counts as free.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)  # a pipe would block
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            return False
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EWOULDBLOCK, errno.EAGAIN)
    finally:
        os.close(number)
    return False
