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
from Utils.report.plain_markdown import Paragraph

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
        number: its number with the word, such as `Table 3`, if the report counts its tables.
    """

    name: str
    caption: str
    text: pd.DataFrame
    data: pd.DataFrame | None = None
    words: int = 1
    number: str = ""

    @property
    def legend(self) -> str:
        """The caption after the number."""
        return f"{self.number}. {self.caption}" if self.number else self.caption


@dataclass(frozen=True)
class Figure:
    """A picture: drawn by matplotlib, or saved by a run.

    Attributes:
        name: the name of its file.
        caption: the caption.
        description: the content in words, for readers who cannot see it.
        drawing: matplotlib's figure.
        files: the pictures that a run saved, extension -> path.
        number: its number with the word, such as `Figure 2`, if the report counts its figures.
        half: whether two of its kind may stand side by side.
    """

    name: str
    caption: str
    description: str
    drawing: Drawing | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    number: str = ""
    half: bool = False

    @property
    def legend(self) -> str:
        """The caption after the number."""
        return f"{self.number}. {self.caption}" if self.number else self.caption


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
class Heading:
    """A heading below that of its section."""

    text: str


@dataclass(frozen=True)
class AuthorText:
    """The place for the text that the author of the report writes about one task.

    Attributes:
        task: the name of the task, which is that of its heading in `discussion.md`.
        paragraphs: the author's text; none as long as it is to be written.
    """

    task: str
    paragraphs: list[Paragraph]


@dataclass(frozen=True)
class Check:
    """A deliverable of an assignment.

    Attributes:
        what: the deliverable, in the words of the assignment.
        present: whether the report has it.
        how: what to do to add it, a sentence.
        command: the command line that adds it; empty if there is none.
    """

    what: str
    present: bool
    how: str = ""
    command: str = ""


@dataclass(frozen=True)
class CheckList:
    """The deliverables of an assignment, each present or missing."""

    checks: list[Check]

    @property
    def summary(self) -> str:
        """How many are present, as a sentence."""
        there = sum(check.present for check in self.checks)
        if there == len(self.checks):
            return f"All {there} deliverables are present."
        return f"{there} of {len(self.checks)} deliverables are present."


@dataclass(frozen=True)
class Data:
    """A JSON file beside the tables."""

    name: str
    caption: str
    content: Any


Block = Table | Figure | Sentences | Warnings | Commands | Note | Heading | AuthorText | CheckList | Data


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
    """A report before it is written.

    Attributes:
        missing: the missing results that it lists at its end.
        left_out: the folders that it lists as left out, with the reasons.
        stem: the name of its files without their endings.
        appendix: the document beside it with all that it leaves out.
    """

    title: str
    subtitle: str
    collection: Collection
    sections: list[Section] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    stem: str = "report"
    appendix: Document | None = None

    @property
    def description(self) -> str:
        """The description that an assignment gives."""
        return str(self.collection.settings.get("description") or "")

    @property
    def blocks(self) -> Iterable[Any]:
        """The blocks of all sections."""
        return (block for section in self.sections for block in section.blocks)

    @property
    def documents(self) -> list[Document]:
        """The document and its appendix, if it has one."""
        return [self, self.appendix] if self.appendix else [self]

    @property
    def checks(self) -> list[Check]:
        """The deliverables of an assignment, if the document lists them."""
        return [check for block in self.blocks if isinstance(block, CheckList) for check in block.checks]


def slug(*words: object) -> str:
    """Turn words into a file name or link: lower case, `-` for other characters; a hash keeps shortened names distinct."""
    plain = re.sub(r"[^a-z0-9.]+", "-", " ".join(map(str, words)).lower()).strip("-.") or "part"
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}-{hashlib.blake2b(plain.encode(), digest_size=3).hexdigest()}"
