"""Locks that a dead process does not keep."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from pathlib import Path

from filelock import FileLock, Timeout

from Utils.base.errors import Refused, RunFailed

SOFT = re.compile(rb"\d+\n[\w.-]+\n(\d+\n)?")  # where the disk knows no locks: who holds it

LONGEST = 1024  # bytes of it


class Lock:
    """A lock on `path`, held by one process at a time and released by the system when its holder dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)

    def take(self, seconds: float = -1) -> bool:
        """Wait for the lock, for up to `seconds` (-1: for as long as it takes); whether it is held now.

        Raises:
            Refused: what has its name is no lock.
            RunFailed: the file cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            check_lock(self.path)
            self._lock.acquire(timeout=seconds, poll_interval=0.1)
        except Timeout:
            return False
        except OSError as error:
            raise RunFailed(f"cannot write {self.path}: {error.strerror or error}") from error
        return True

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._lock.is_locked

    def leave(self) -> None:
        """Release the lock and remove its file; does nothing if it is not held."""
        if self.held:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._lock.release(force=True)


def check_lock(path: Path) -> None:
    """Refuse to lock what is there under that name and is no lock: it would be emptied, and removed in the end.

    Raises:
        Refused: `path` is a link, no file, or a file with content that no lock has.
    """
    with contextlib.suppress(OSError):  # a holder may remove it at any time
        foreign = path.is_symlink() or (path.exists() and not path.is_file())
        if not foreign and path.stat().st_size:
            with open(path, "rb") as file:
                foreign = not SOFT.fullmatch(file.read(LONGEST))
        if foreign:
            raise Refused(f"{path} is no lock of this program, which locks a file of that name: take it away")


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on `path`.

    Only the system's word that another holds it counts: a file that cannot be opened or written (a disk mounted for reading,
    another's folder) is held by nobody that could be waited for.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)  # a pipe would wait for its writer
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
