"""Files of tensors, read without running code from them, and states under a checksum."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from Utils.base.errors import Refused
from Utils.base.files import atomic

FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own variable, which `torch.load` reads each time
WRAPPERS = ("state_dict", "model", "net", "model_state_dict")  # keys under which training scripts keep the weights
PREFIXES = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile


def read_tensor_file(file: Path, name: object = None) -> Any:
    """Read a file of `torch.save` onto the CPU: tensors and plain values.

    `name` stands for the file in an error.

    Raises:
        Refused: there is no such file, or it cannot be read without running code from it.
    """
    name = file if name is None else name
    if not file.is_file():
        raise Refused(f"{name}: there is no such file")
    try:
        with open(file, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle formats
            return _parsed(stream, name)
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror or error}") from error


def _parsed(stream: BinaryIO, name: object) -> Any:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # on a damaged file, the readers of zip, pickle and tar raise nearly anything, even an OSError
        kind = type(error).__name__
        raise Refused(f"{name} is not a whole file of tensors and plain values ({kind}); nothing in it was run") from error


def unwrapped(content: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], dict[str, Any]]:
    """Return the network inside the dictionaries that training scripts save, and the other entries of these dictionaries."""
    beside: dict[str, Any] = {}
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            beside |= {str(k): v for k, v in content.items() if k != key}
            content = content[key]
    return content, beside


def unprefixed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Remove the prefix of DataParallel or torch.compile from the names, where all names have it."""
    for prefix in PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return dict(tensors)


def seal(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of tensors and plain values, moved to the CPU, under a checksum of content and name."""
    buffer = io.BytesIO()
    torch.save(on_cpu(state), buffer)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(_seal_of(path, buffer.getbuffer()))
        file.write(buffer.getbuffer())


def _seal_of(path: Path, content: memoryview) -> bytes:
    """Return the checksum of content and name.

    The name of a cache file says what is in it, so the checksum detects two files that were exchanged.
    """
    digest = hashlib.sha256(f"{path.name}\0".encode())
    digest.update(content)
    return digest.digest()


def save_state(state: dict[str, Any], path: Path) -> None:
    """Call `torch.save` through Python's own file, whose errors say what was wrong with the disk."""
    with open(path, "wb") as file:
        torch.save(state, file)


def unseal(path: Path, *keys: str) -> Any:
    """Read a file that `seal` wrote, onto the CPU.

    The result is None if the file is missing, has changed since it was written, or lacks one of `keys`.
    """
    if not path.is_file():
        return None
    try:
        content = memoryview(path.read_bytes())
        if _seal_of(path, content[32:]) != bytes(content[:32]):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle formats
            state = torch.load(io.BytesIO(content[32:]), weights_only=True)
    except Exception:  # the readers of zip and pickle raise nearly anything
        return None
    return state if isinstance(state, dict) and state.keys() >= set(keys) else None


@contextmanager
def tensors_alone() -> Iterator[None]:
    """Restrict every `torch.load` inside, also by other packages, to tensors and plain values; it runs no code."""
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
    """Return `value` with every tensor detached, contiguous and on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().contiguous()
    if isinstance(value, dict):
        return {k: on_cpu(v) for k, v in value.items()}
    return [on_cpu(v) for v in value] if isinstance(value, list | tuple) else value
