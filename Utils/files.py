"""Files that appear whole or not at all, locks that a dead process does not keep, and sealed states."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from Utils.errors import Refused, RunFailed

FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own variable, which it looks at each time


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place when the block ends well. Folders are made as needed.

    Raises:
        RunFailed: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunFailed(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def writable(text: object) -> str:
    """`text` as files and terminals take it: bytes in a folder's name that are no UTF-8 become question marks."""
    return str(text).encode("utf-8", "replace").decode()


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path, state: Any) -> None:
    """Write nested dicts and lists of tensors and plain values, moved to the CPU, under a checksum of their own."""
    buffer = io.BytesIO()
    torch.save(on_cpu(state), buffer)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(hashlib.sha256(buffer.getbuffer()).digest())
        file.write(buffer.getbuffer())


def unseal(path: Path) -> Any:
    """What `seal` wrote, on the CPU; None where there is no such file, or it is not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(memoryview(content)[32:]).digest() != content[:32]:
        return None
    try:
        return torch.load(io.BytesIO(content[32:]), weights_only=True)
    except Exception:  # a checksum keeps nobody from writing a file of his own; nothing in it is run
        return None


@contextmanager
def tensors_alone() -> Iterator[None]:
    """Inside, whoever calls `torch.load`, other packages too, reads tensors and plain values, and runs nothing."""
    before = os.environ.get(FORCED)
    os.environ[FORCED] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[FORCED]
        else:
            os.environ[FORCED] = before


def on_cpu(value: Any) -> Any:
    """`value` with every tensor detached, contiguous and on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().contiguous()
    if isinstance(value, dict):
        return {k: on_cpu(v) for k, v in value.items()}
    return [on_cpu(v) for v in value] if isinstance(value, list | tuple) else value


class Lock:
    """A lock on `path`, held by one process at a time and released by the system when its holder dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path)

    def take(self, seconds: float = -1) -> bool:
        """Wait for the lock, for up to `seconds` (-1: for as long as it takes); whether it is held now.

        Raises:
            RunFailed: the file cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=seconds, poll_interval=0.1)
        except Timeout:
            return False
        except OSError as error:
            raise RunFailed(f"cannot write {self.path}: {error.strerror or error}") from error
        return True

    def leave(self) -> None:
        """Release the lock and remove its file; does nothing if it is not held."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._lock.release(force=True)


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on `path`."""
    if not path.exists():
        return False
    probe = FileLock(path)
    try:
        probe.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    probe.release()
    return False


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: the file is missing, unreadable or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # the last where lists lie too deep in each other
        raise Refused(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"{path}: a JSON object was expected")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object, whole or not at all; numbers that are not finite become null."""
    with atomic(path) as temporary:
        temporary.write_text(json_text(content), encoding="utf-8")


def json_text(content: dict[str, Any]) -> str:
    """`content` as indented JSON; numbers that are not finite become null."""
    return json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """`value` with what JSON does not know made plain: tuples, numpy numbers, numbers that are not finite."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
