"""Finding an object by the name that a flag or a pruner's file gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def look_up(given: T | str, table: Mapping[str, T], what: str) -> T:
    """Return the entry of `table` that the name `given` stands for; an object that is no name is returned as it is.

    Raises:
        ValueError: `table` has no such name; the message begins with `what` and lists the names that there are.
    """
    if not isinstance(given, str):
        return given
    if given not in table:
        raise ValueError(f"{what} {given!r}: choose from {', '.join(table)}")
    return table[given]
