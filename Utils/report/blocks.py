"""The parts of a report: sections of tables, figures and sentences, and a list of missing results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from Utils.report.collect import Collection

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

LONGEST = 90  # letters of a file name before its ending


@dataclass(frozen=True)
class Table:
    """A table with a caption.

    Attributes:
        name: the name of its file.
        caption: the caption.
        text: the cells as they are shown.
        data: the content of its CSV file; None if that is `text`.
        words: the number of columns at the left that hold words; all others hold numbers.
    """

    name: str
    caption: str
    text: pd.DataFrame
    data: pd.DataFrame | None = None
    words: int = 1


@dataclass(frozen=True)
class Figure:
    """A picture: drawn by matplotlib, or saved by a run.

    Attributes:
        name: the name of its file.
        caption: the caption.
        description: the content in words, for readers who cannot see it.
        drawing: matplotlib's figure.
        files: the pictures that a run saved, extension -> path.
    """

    name: str
    caption: str
    description: str
    drawing: Drawing | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Sentences:
    """Sentences computed from the numbers."""

    lines: list[str]


@dataclass(frozen=True)
class Warnings:
    """Facts that a reader of the numbers must know."""

    lines: list[str]


@dataclass(frozen=True)
class Commands:
    """Command lines, each to be copied."""

    lines: list[str]


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Data:
    """A JSON file beside the tables."""

    name: str
    caption: str
    content: Any


Block = Table | Figure | Sentences | Warnings | Commands | Note | Data


@dataclass
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The section's name in links."""
        return slug(self.title)


@dataclass(frozen=True)
class Missing:
    """A result that the runs do not show, and the command that makes it."""

    what: str
    command: str


@dataclass
class Document:
    """A report before it is written."""

    title: str
    subtitle: str
    collection: Collection
    sections: list[Section] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def description(self) -> str:
        """The description that an assignment gives."""
        return str(self.collection.settings.get("description") or "")

    @property
    def blocks(self) -> Iterable[Any]:
        """The blocks of all sections."""
        return (block for section in self.sections for block in section.blocks)


def slug(*words: object) -> str:
    """Turn words into a file name or link: lower case, `-` for other characters; a hash keeps shortened names distinct."""
    plain = re.sub(r"[^a-z0-9.]+", "-", " ".join(map(str, words)).lower()).strip("-.") or "part"
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}-{hashlib.blake2b(plain.encode(), digest_size=3).hexdigest()}"
