"""Text in Markdown: a backslash stands only where Markdown, or GitHub, would read markup."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

RUNS = {char: re.compile(rf"{re.escape(char)}+") for char in "*_~"}  # of emphasis and strikethrough
PAIRED = ("`", "$")  # of code and GitHub's formulas: one alone is a letter
TAG = re.compile(r"<(?=[A-Za-z/!?])")
ENTITY = re.compile(r"&(?=#?\w+;)")
BACKSLASH = re.compile(r"\\(?=[!-/:-@\[-`{-~]|$)")  # before punctuation; others are letters
LINK = re.compile(r"\](?=[(\[])")
# At the start of a block: heading, list, quotation, rule, fence, definition of a link, box to tick.
OPENING = re.compile(r"#{1,6}(?=\s|$)|[-+*](?=\s|$)|>|[-*_\s]+$|~~~|```|\[(?=.*\]:|[ xX]\])")
NUMBER = re.compile(r"(\d{1,9})([.)])(?=\s|$)")  # at the start of a block: a numbered list
CLOSING = re.compile(r"(?:^|(?<=\s))#+$")  # at the end of a heading


def in_block(value: Any) -> str:
    """Return `value` as the text of a paragraph or of an item of a list, on one line."""
    text = _one_line(value)
    marks = _anywhere(text)
    if number := NUMBER.match(text):
        marks.add(number.start(2))
    if OPENING.match(text):
        marks.add(0)
    return _marked(text, marks)


def in_span(value: Any) -> str:
    """Return `value` as words of a paragraph, between others: no letter of theirs can be a pair with one of these."""
    text = in_block(value)
    return re.sub(r"(?<!\\)[*`]", lambda found: f"\\{found[0]}", text)


def in_heading(value: Any) -> str:
    """Return `value` as the text of a heading."""
    text = _one_line(value)
    return _marked(text, _anywhere(text) | {found.start() for found in CLOSING.finditer(text)})


def in_cell(value: Any) -> str:
    """Return `value` as the text of a table's cell."""
    text = _one_line(value)
    return _marked(text, _anywhere(text) | _places(text, lambda char: char == "|"))


def in_brackets(value: Any) -> str:
    """Return `value` as a text between brackets: the description of a picture."""
    text = _one_line(value)
    return _marked(text, _anywhere(text) | _places(text, lambda char: char in "[]"))


def _one_line(value: Any) -> str:
    return " ".join(str(value).split())


def _anywhere(text: str) -> set[int]:
    """Return the places of letters that are markup wherever the text stands."""
    found = {match.start() for pattern in (BACKSLASH, LINK, ENTITY, TAG) for match in pattern.finditer(text)}
    for char in PAIRED:
        found |= _places(text, lambda c, char=char: c == char) if text.count(char) > 1 else set()
    for char, pattern in RUNS.items():
        found |= _emphasis(text, char, list(pattern.finditer(text)))
    return found


def _emphasis(text: str, char: str, runs: list[re.Match[str]]) -> set[int]:
    """Return the places of all runs of `char` that can begin or end emphasis, if one can begin it before another ends it."""
    begins, ends = ([run for run in runs if able(text, char, run)] for able in (_can_begin, _can_end))
    if not (begins and ends and begins[0].start() < ends[-1].start()):
        return set()
    return set(_all_of(begins)) | set(_all_of(ends))


def _can_begin(text: str, char: str, run: re.Match[str]) -> bool:
    before, after = text[: run.start()][-1:], text[run.end() :][:1]
    return bool(after.strip()) and not (char == "_" and before.isalnum())


def _can_end(text: str, char: str, run: re.Match[str]) -> bool:
    before, after = text[: run.start()][-1:], text[run.end() :][:1]
    return bool(before.strip()) and not (char == "_" and after.isalnum())


def _all_of(runs: Iterable[re.Match[str]]) -> Iterator[int]:
    return (place for run in runs for place in range(run.start(), run.end()))


def _places(text: str, wanted: Callable[[str], bool]) -> set[int]:
    return {place for place, char in enumerate(text) if wanted(char)}


def _marked(text: str, marks: set[int]) -> str:
    r"""Put a backslash before the letters at `marks`; `<` becomes `&lt;`, which no reader takes for a tag."""
    return "".join(("&lt;" if c == "<" else f"\\{c}") if place in marks else c for place, c in enumerate(text))
