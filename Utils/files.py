"""Files that appear whole or not at all, JSON with a checksum of its own, and sealed states."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import re
import tempfile
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from Utils.errors import Refused, RunFailed
from Utils.inputs import read_input
from Utils.interrupts import held

LARGEST_JSON = 1 << 28  # bytes of a JSON file that is read whole
HALF = re.compile(r"\.(.+)\.\d+\.half")  # the name of a file on its way: .NAME.PROCESS.half
CHECKSUM = "checksum"  # the key under which a JSON file carries the checksum of the rest of it
_DIGEST = re.compile("[0-9a-f]{64}")

FORCED = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"  # torch's own variable, which it looks at each time


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, which takes its place when the block ends well. Folders are made as needed.

    An interrupt waits for the end of the block.

    Raises:
        RunFailed: it cannot be written, or `path` is a link.
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
            cause = error if isinstance(error, OSError) else error.__context__  # torch's writer hides what the disk said
            if not isinstance(cause, OSError):
                raise
            raise RunFailed(f"cannot write {path}: {cause.strerror or cause}") from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def leftovers(folder: Path) -> Iterator[tuple[str, Path]]:
    """What killed processes left in `folder` half written: (the name it was to have, the file).

    Files of living ones too, so hold a lock.
    """
    for file in list(folder.iterdir()) if folder.is_dir() else ():
        if (match := HALF.fullmatch(file.name)) and file.is_file() and not file.is_symlink():
            yield match[1], file


def writable(text: object) -> str:
    """`text` as files and terminals take it: bytes in a folder's name that are no UTF-8 become question marks."""
    return str(text).encode("utf-8", "replace").decode()


def sha256(path: Path) -> str:
    """The SHA-256 checksum of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested dicts and lists of tensors and plain values, moved to the CPU, under a checksum of content and name."""
    buffer = io.BytesIO()
    torch.save(on_cpu(state), buffer)
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(_seal_of(path, buffer.getbuffer()))
        file.write(buffer.getbuffer())


def _seal_of(path: Path, content: memoryview) -> bytes:
    """The name is part of it: names of caches say what is in them, so that files changed for each other are found out."""
    digest = hashlib.sha256(f"{path.name}\0".encode())
    digest.update(content)
    return digest.digest()


def save_state(state: dict[str, Any], path: Path) -> None:
    """`torch.save` through Python's own file, whose errors say what was wrong with the disk."""
    with open(path, "wb") as file:
        torch.save(state, file)


def unseal(path: Path, *keys: str) -> Any:
    """What `seal` wrote, on the CPU; None where there is no such file, it is not as it was written, or it lacks one of `keys`."""
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


def differing_in_case(path: Path) -> Path | None:
    """What is there and has the name of `path` but for the case of letters: on some file systems that is the same folder."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return None
    if path.name in names:
        return None
    plain = unicodedata.normalize("NFC", path.name).casefold()
    return next((path.parent / n for n in names if unicodedata.normalize("NFC", n).casefold() == plain), None)


def check_writable(path: Path) -> None:
    """Try to make a file where `path` will be, and leave nothing behind."""
    twin = differing_in_case(path)
    if twin:
        raise Refused(f"{path} and {twin}, which is there, differ by the case of letters only: choose another --expid")
    if path.is_symlink():
        raise Refused(f"{path} is a link: nothing is written or removed through it; take it away, or choose another --expid")
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(20, "is a file, not a folder")
        nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
        with tempfile.TemporaryFile(dir=nearest):  # has no name that a kill could leave behind
            pass
    except OSError as error:
        raise Refused(f"--result-dir: cannot write to {path}: {error.strerror or error}") from error


def read_json(path: Path, *, checked: bool = False) -> dict[str, Any]:
    """Read a JSON object; the checksum of its own content, where it carries one, is checked and left out.

    Files of before there was one, and other programs', carry none and are read as they are, unless it is to be `checked`.

    Raises:
        Refused: the file is missing, unreadable, no JSON object, or not as it was written.
    """
    try:
        content = json.loads(read_input(path, LARGEST_JSON).decode("utf-8"))
    except Refused as error:
        raise Refused(f"{path}: cannot be read as JSON ({error})") from error
    except (ValueError, RecursionError) as error:  # the last where lists lie too deep in each other
        raise Refused(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"{path}: a JSON object was expected")
    stranger = any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in content.values())
    digest = content.pop(CHECKSUM, None)
    if checked and digest is None:
        raise Refused(f"{path} has no checksum")
    if digest != content_checksum(content) if digest is not None else stranger:  # the key itself may be what was damaged
        raise Refused(f"{path} is damaged: its content is not what its checksum says")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the checksum of its content, whole or not at all; numbers that are not finite become null."""
    with atomic(path) as temporary:
        temporary.write_text(checked_text(content), encoding="utf-8")


def checked_text(content: Mapping[str, Any]) -> str:
    """`content` as indented JSON, with `checksum` as its last key (see `content_checksum`)."""
    plain = {name: value for name, value in _plain(content).items() if name != CHECKSUM}
    return json_text(plain | {CHECKSUM: content_checksum(plain)})


def content_checksum(content: Mapping[str, Any]) -> str:
    """The SHA-256 of plain JSON content: keys sorted, no spaces, ASCII alone, without the key `checksum` itself."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def json_text(content: Mapping[str, Any]) -> str:
    """`content` as indented JSON; numbers that are not finite become null."""
    return json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """`value` with what JSON does not know made plain: tuples, numpy numbers, numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
