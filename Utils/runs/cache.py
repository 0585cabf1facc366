"""Results that all runs of a result folder share: the first run that needs one makes it, the others wait and read it.

Dense networks (`dense_cache.py`) and the rivals of regrowth (`Utils/regrowth/rivals.py`) are kept this way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.files import leftovers
from Utils.base.locks import Lock
from Utils.base.tensor_files import seal, unseal
from Utils.compute.precision import FLOAT32, Precision
from Utils.compute.processes import decided, is_first
from Utils.options.types import Options


class CacheEntry:
    """One shared result: the file `path`, and beside it the checkpoint of the process that is making it.

    Attributes:
        path: the file; None if the run saves nothing and therefore shares nothing.
        content: the content of the file; None if this process has to make it.
    """

    def __init__(self, path: Path | None, content: dict[str, Any] | None = None) -> None:
        self.path, self.content = path, content

    @property
    def _checkpoint(self) -> Path | None:
        return self.path.with_suffix(".checkpoint") if self.path else None

    def resume(self) -> dict[str, Any] | None:
        """Read the last checkpoint, whichever process wrote it, on all ranks; None if there is none."""
        return decided(lambda: unseal(self._checkpoint)) if self._checkpoint else None

    def write_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save `state` for `resume`, in place of the one before."""
        if self._checkpoint and is_first():
            seal(self._checkpoint, state)

    def write(self, content: Mapping[str, Any]) -> None:
        """Write the result, and remove its checkpoint."""
        if self.path and self._checkpoint and is_first():
            seal(self.path, content)
            self._checkpoint.unlink(missing_ok=True)


def precision_fact(options: Options, precision: Precision) -> dict[str, str]:
    """Return the precision as a fact for `cache_path`.

    It is empty for float32, and where `--quantization` among the facts says it, so that results of earlier versions are found.
    """
    said = str(precision) == FLOAT32 or (options.quantization and options.precision is None)
    return {} if said else {"precision": str(precision)}


def cache_path(result_dir: str, folder: str, facts: Mapping[str, Any]) -> Path:
    """Return the file of a result that depends on these `facts` alone, in `folder` of the result folder: a hash is its name."""
    key = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16).hexdigest()
    return Path(result_dir, folder, f"{key}.bin")


@contextmanager
def cache_entry(path: Path | None, *keys: str) -> Iterator[CacheEntry]:
    """Find the shared result `path`, a dictionary with these `keys`, or hold its lock while the block makes it.

    It waits while another process is making the result. A file that is damaged, or lacks a key, is made again.

    Raises:
        Refused: a link or a folder has the name of the file or of its checkpoint, or another file has the name of its lock.
        RunFailed: the lock cannot be written.
    """
    if path is None:
        yield CacheEntry(None)
        return
    for file in (path, path.with_suffix(".checkpoint")):
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise Refused(f"{file} is no file: take it away, {path.parent.name.replace('-', ' ')} are kept there")
    lock = Lock(path.with_suffix(".lock"))
    try:
        yield CacheEntry(path, decided(lambda: _content(path, keys, lock)))
    finally:
        lock.leave()


def _content(path: Path, keys: tuple[str, ...], lock: Lock) -> dict[str, Any] | None:
    """Read `path`, waiting for the process that makes it; None, with the lock held, if this process has to make it."""
    checkpoint = path.with_suffix(".checkpoint")
    content = unseal(path, *keys)
    if content is None:
        lock.take()
        content = unseal(path, *keys)
    elif lock.path.exists() or checkpoint.exists():
        lock.take(0)  # the process that made it was killed at the very end
    if content is not None and lock.held:
        checkpoint.unlink(missing_ok=True)
    if content is None:
        for name, leftover in leftovers(path.parent):
            if name in (path.name, checkpoint.name):  # this process holds the lock on them
                leftover.unlink(missing_ok=True)
    return content
