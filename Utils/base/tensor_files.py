"""Files of tensors, read without running code from them, and states under a checksum."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from Utils.base.errors import Refused
from Utils.base.files import atomic
from Utils.base.packages import require
from Utils.base.stand_ins import LIST, MAPPING, Result, globals_in, in_python_3, resolved, stand_in
from Utils.base.text import one_line
from Utils.base.unreadable import cause_of

FILLED = re.compile(r"Can only (SETITEMS?|append to) .*but got <class 'stand_in\.(.+)'>")
TRIES = 20  # classes of dictionaries or lists in one file
FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own variable, which `torch.load` reads each time


def read_tensor_file(file: Path, name: object = None) -> Any:
    """Read a file of `torch.save` or of the package safetensors onto the CPU: tensors and plain values.

    Stand-ins (`Utils.base.stand_ins`) take the place of other objects, of which nothing is imported and nothing run; numbers
    and arrays of NumPy become numbers and arrays again. `name` stands for the file in an error.

    Raises:
        Refused: there is no such file, or it cannot be read without running code from it; the cause is named.
    """
    name = file if name is None else name
    if file.is_dir():
        hint = f": name {file / 'model.pt'}" if (file / "model.pt").is_file() else ": name the file in it"
        raise Refused(f"{name} is a folder, not a file{hint}")
    if not file.is_file():
        raise Refused(f"{name}: there is no such file")
    try:
        if _is_packed(file):
            return _unpacked(file, name)
        with open(file, "rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle formats
            return _parsed(stream, file, name)
    except OSError as error:
        raise Refused(f"{name} cannot be read: {error.strerror or error}") from error


def _parsed(stream: BinaryIO, file: Path, name: object) -> Any:
    try:
        return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass  # it names other classes
    except Exception as error:  # on a damaged file, the readers of zip, pickle and tar raise nearly anything, even an OSError
        raise _unreadable(file, name, error) from error
    kinds: dict[str, str] = {}
    names = _names_in(file)
    for _ in range(TRIES):
        stream.seek(0)
        try:
            known = [(stand_in(found, kinds.get(found, "")), found) for found in names]
            with torch.serialization.safe_globals([*known, Result]):
                return resolved(torch.load(stream, map_location="cpu", weights_only=True))
        except Exception as error:
            filled = FILLED.search(str(error))
            if not filled or filled[2] in kinds:
                raise _unreadable(file, name, error) from error
            kinds[filled[2]] = LIST if filled[1] == "append to" else MAPPING
    raise Refused(f"{name} holds more than {TRIES} classes of dictionaries; nothing in it was run")


def _names_in(file: Path) -> set[str]:
    """Return the names of classes and functions in a file of `torch.save`, in the spellings of Python 2 and 3."""
    try:
        with zipfile.ZipFile(file) as archive:
            inner = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            found = globals_in(io.BytesIO(archive.read(inner)))
    except (zipfile.BadZipFile, StopIteration, KeyError, NotImplementedError, RuntimeError):
        with open(file, "rb") as stream:
            found = globals_in(stream)
    return found | {in_python_3(name) for name in found}


def _unreadable(file: Path, name: object, error: Exception) -> Refused:
    return Refused(f"{name} {cause_of(file, error)}; nothing in it was run")


def _is_packed(file: Path) -> bool:
    """Tell whether a file is one of safetensors, whatever its name: the length of a JSON header, then the header."""
    with open(file, "rb") as stream:
        head = stream.read(9)
    return len(head) == 9 and head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= file.stat().st_size - 8


def _unpacked(file: Path, name: object) -> dict[str, torch.Tensor]:
    require("safetensors", str(name), "safetensors")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(file), device="cpu")
    except (SafetensorError, ValueError, KeyError) as error:
        raise Refused(f"{name} is a damaged file of safetensors: {one_line(str(error))}") from error


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
