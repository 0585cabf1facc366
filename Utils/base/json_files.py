"""JSON files with a checksum of their own content."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.files import atomic
from Utils.base.inputs import read_input

LARGEST_JSON = 1 << 28  # bytes of a JSON file that is read whole
CHECKSUM = "checksum"  # the key under which a JSON file carries the checksum of the rest of it
_DIGEST = re.compile("[0-9a-f]{64}")


def read_json(path: Path, *, checked: bool = False) -> dict[str, Any]:
    """Read a JSON object, and check and drop the checksum of its own content where it has one.

    Files of earlier versions and of other programs have no checksum. They are read as they are, unless `checked` demands one.

    Raises:
        Refused: the file is missing, unreadable, not a JSON object, or changed since it was written.
    """
    try:
        content = json.loads(read_input(path, LARGEST_JSON).decode("utf-8"))
    except Refused as error:
        raise Refused(f"{path}: cannot be read as JSON ({error})") from error
    except (ValueError, RecursionError) as error:  # RecursionError: lists are nested too deeply
        raise Refused(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"{path}: a JSON object was expected")
    stranger = any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in content.values())
    digest = content.pop(CHECKSUM, None)
    if checked and digest is None:
        raise Refused(f"{path} has no checksum")
    if digest != content_checksum(content) if digest is not None else stranger:  # the damage may be in the key itself
        raise Refused(f"{path} is damaged: its content is not what its checksum says")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object with the checksum of its content, whole or not at all.

    Numbers that are not finite become null.
    """
    with atomic(path) as temporary:
        temporary.write_text(checked_text(content), encoding="utf-8")


def checked_text(content: Mapping[str, Any]) -> str:
    """Format `content` as indented JSON, with `checksum` as its last key (see `content_checksum`)."""
    plain = {name: value for name, value in _plain(content).items() if name != CHECKSUM}
    return json_text(plain | {CHECKSUM: content_checksum(plain)})


def content_checksum(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain JSON content: keys sorted, no spaces, only ASCII, without the key `checksum` itself."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def json_text(content: Mapping[str, Any]) -> str:
    """Format `content` as indented JSON; numbers that are not finite become null."""
    return json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Convert `value` to types that JSON knows: tuples, numpy numbers and numbers that are not finite are replaced."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
