"""A small part of Markdown, for an author's text: paragraphs, lists, bold, italic and code; all else stays as it is written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
ITEM = re.compile(r" {0,3}(?:([-*+])|(\d{1,9})[.)])\s+(.*)")
HEADING = re.compile(r" {0,3}#{1,6}\s+(.*?)\s*#*")
# Code first, since nothing inside it is markup; then bold, then italic. Underscores inside a word are letters.
MARKED = re.compile(
    r"(?P<fence>`+)(?P<code>.+?)(?P=fence)(?!`)|\*\*(?P<bold>\S(?:.*?\S)??)\*\*|(?<!\w)__(?P<bold2>\S(?:.*?\S)??)__(?!\w)"
    r"|\*(?P<italic>[^\s*](?:[^*]*?[^\s*])??)\*|(?<!\w)_(?P<italic2>[^\s_](?:[^_]*?[^\s_])??)_(?!\w)"
)
ESCAPED = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|~$<>])")
LONGEST = 10_000  # letters of a paragraph in which markup is looked for
BOLD, ITALIC, CODE, PLAIN = "bold", "italic", "code", ""
TEXT, BULLETS, NUMBERS = "text", "bullets", "numbers"


@dataclass(frozen=True)
class Span:
    """Words of one look: `BOLD`, `ITALIC`, `CODE` or `PLAIN`."""

    text: str
    look: str = PLAIN


@dataclass(frozen=True)
class Paragraph:
    """A paragraph, or a list.

    Attributes:
        kind: `TEXT`, `BULLETS` or `NUMBERS`.
        lines: the items of a list; one line for a paragraph.
        first: the number of the first item.
    """

    kind: str
    lines: list[list[Span]]
    first: int = 1


def paragraphs_of(text: str) -> list[Paragraph]:
    """Read the paragraphs and lists of a text; its comments are left out, and its headings become bold paragraphs."""
    found: list[Paragraph] = []
    for kind, first, lines in _pieces(COMMENT.sub("", text)):
        if kind == TEXT and (heading := HEADING.fullmatch(lines[0])) and len(lines) == 1:
            found.append(Paragraph(TEXT, [[Span(ESCAPED.sub(r"\1", heading[1]), BOLD)]]))
        else:
            found.append(Paragraph(kind, [spans_of(line) for line in lines], first))
    return found


def spans_of(line: str) -> list[Span]:
    """Split a line into words of one look each."""
    spans, end = [], 0
    for match in MARKED.finditer(line) if len(line) <= LONGEST else ():
        if _is_escaped(line, match.start()):
            continue
        spans += _plain(line[end : match.start()])
        groups = match.groupdict()
        if groups["code"]:
            spans.append(Span(groups["code"].strip() or groups["code"], CODE))
        else:
            bold = groups["bold"] or groups["bold2"]
            spans.append(Span(ESCAPED.sub(r"\1", bold or groups["italic"] or groups["italic2"]), BOLD if bold else ITALIC))
        end = match.end()
    return spans + _plain(line[end:])


def _is_escaped(line: str, place: int) -> bool:
    """Tell whether an odd number of backslashes stands before a place."""
    before = line[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _plain(text: str) -> list[Span]:
    return [Span(ESCAPED.sub(r"\1", text))] if text else []


def _pieces(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """Yield (kind, number of the first item, lines) of each paragraph and each list; a paragraph is one line."""
    kind, first, lines = TEXT, 1, []
    for raw in [*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        line = raw.strip()
        item, heading = ITEM.fullmatch(raw.rstrip()), HEADING.fullmatch(raw.rstrip())
        own = (BULLETS if item[1] else NUMBERS) if item else TEXT
        starts = bool(item) and (own != kind or not lines)
        if lines and (not line or heading or starts):
            if not line and kind != TEXT:  # a list continues after an empty line if another item follows
                lines.append("")
            else:
                yield from _ended(kind, first, lines)
                kind, first, lines = TEXT, 1, []
        if not line:
            continue
        if heading:
            yield TEXT, 1, [raw.rstrip()]
        elif item:
            if not [word for word in lines if word]:
                kind, first, lines = own, int(item[2] or 1), []
            lines = [word for word in lines if word] + [item[3].strip()]
        elif kind != TEXT and lines and lines[-1] == "":
            yield from _ended(kind, first, lines)
            kind, first, lines = TEXT, 1, [line]
        elif lines:
            lines[-1] = f"{lines[-1]} {line}"
        else:
            lines = [line]
    yield from _ended(kind, first, lines)


def _ended(kind: str, first: int, lines: list[str]) -> Iterator[tuple[str, int, list[str]]]:
    if words := [line for line in lines if line]:
        yield kind, first, words
