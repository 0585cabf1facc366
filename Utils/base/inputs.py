"""Safe reading of files that a stranger may have made: no pipes, no devices, no more than a bounded size."""

from __future__ import annotations

from pathlib import Path

from Utils.base.errors import Refused

BLOCK = 1 << 20  # bytes read at a time


def check_regular(path: Path) -> None:
    """Refuse a pipe or a device, whose reading would never end.

    Raises:
        Refused: `path` exists and is neither a file nor a folder.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise Refused(f"{path} is no regular file")


def read_input(path: Path, largest: int) -> bytes:
    """Return the bytes of a file that a stranger may have made, perhaps to do harm.

    Raises:
        Refused: it is no regular file, it is larger than `largest` bytes, or it cannot be read.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            content = bytearray()
            while len(content) <= largest and (block := file.read(BLOCK)):  # read(largest) would allocate that size at once
                content += block
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > largest:
        raise Refused(f"{path} is too large to be read: more than {largest >> 20} MiB")
    return bytes(content)
