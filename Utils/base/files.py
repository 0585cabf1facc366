"""Files that appear whole or not at all, and checks of the places where they can be written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from Utils.base.errors import Refused, RunFailed
from Utils.base.signals import held

HALF = re.compile(r"\.(.+)\.\d+\.half")  # the name of a file that is being written: .NAME.PROCESS.half


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path`, which replaces `path` if the block ends without an error.

    Missing folders are made. An interrupt waits for the end of the block.

    Raises:
        RunFailed: the file cannot be written, or `path` is a link.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.half")
    with held():
        try:
            if path.is_symlink():
                raise RunFailed(f"{path} is a link: nothing is written in its place; take it away")
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:
            cause = error if isinstance(error, OSError) else error.__context__  # torch's writer hides the error of the disk
            if not isinstance(cause, OSError):
                raise
            raise RunFailed(f"cannot write {path}: {cause.strerror or cause}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def linked(path: Path) -> Refused:
    """Return the refusal for a link at a place where this program would write."""
    return Refused(f"{path} is a link: nothing is written or removed through it; take it away, or choose another --expid")


def leftovers(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (intended name, file) for each half-written file in `folder`.

    The processes that wrote them were killed, or are still alive: hold a lock to exclude the latter.
    """
    for file in list(folder.iterdir()) if folder.is_dir() else ():
        if (match := HALF.fullmatch(file.name)) and file.is_file() and not file.is_symlink():
            yield match[1], file


def writable(text: object) -> str:
    """Make `text` fit for files and terminals: bytes in a folder's name that are not UTF-8 become question marks."""
    return str(text).encode("utf-8", "replace").decode()


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing_in_case(path: Path) -> Path | None:
    """Find an existing entry whose name differs from that of `path` only in the case of letters.

    Some file systems take the two for the same folder.
    """
    try:
        names = os.listdir(path.parent)
    except OSError:
        return None
    if path.name in names:
        return None
    plain = unicodedata.normalize("NFC", path.name).casefold()
    return next((path.parent / n for n in names if unicodedata.normalize("NFC", n).casefold() == plain), None)


def check_writable(path: Path, instead: str = "choose another --result-dir") -> None:
    """Try to make a file where `path` will be, and remove it again; `instead` says what to do if that fails.

    Raises:
        Refused: `path` cannot be written, is a link, or differs from an existing entry only in the case of letters.
    """
    twin = differing_in_case(path)
    if twin:
        raise Refused(f"{path} and {twin}, which is there, differ by the case of letters only: choose another --expid")
    if path.is_symlink():
        raise linked(path)
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(20, "is a file, not a folder")
        nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
        with tempfile.TemporaryFile(dir=nearest):  # a file without a name, so that a kill leaves none behind
            pass
    except OSError as error:
        raise Refused(f"--result-dir: cannot write to {path}: {error.strerror or error}; {instead}") from error
