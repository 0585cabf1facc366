"""Text and columns in LaTeX: nothing in a text is a command, whatever the names of networks, layers and folders are."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import pandas as pd

SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", **{char: f"\\{char}" for char in "_%&#{}$"},
    "\u00a0": "~", "\u2212": r"\ensuremath{-}", "±": r"\ensuremath{\pm}", "×": r"\ensuremath{\times}",
    "\u2013": r"\textendash{}", "\u2014": r"\textemdash{}", "\u2018": r"\textquoteleft{}", "\u2019": r"\textquoteright{}",
    "\u201c": r"\textquotedblleft{}", "\u201d": r"\textquotedblright{}", "\u2026": r"\ldots{}", "µ": r"\ensuremath{\mu}",
    "[": "{[}", "*": "{*}",  # after the end of a row, they would be read as its arguments
    "α": r"\ensuremath{\alpha}", "μ": r"\ensuremath{\mu}", "ρ": r"\ensuremath{\rho}", "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}", "→": r"\ensuremath{\rightarrow}", "²": r"\textsuperscript{2}", "³": r"\textsuperscript{3}",
    **{chr(0x2080 + digit): rf"\textsubscript{{{digit}}}" for digit in range(10)},
}  # fmt: skip
LIGATURE = re.compile(r"([-',])(?=\1)")  # two of these would be set as one letter
LETTER = 0.165  # centimetres of a letter of a table
PAGE = 17.4  # centimetres between the margins
NARROWEST = 1.8  # centimetres of a column of words
GAP = 0.42  # centimetres between two columns
LONG = 25  # rows with which a table may go on over several pages
SIZES = {"small": 1.0, "footnotesize": 0.89, "scriptsize": 0.78, "tiny": 0.56}  # width of a letter, beside that of `small`


def latex(value: Any) -> str:
    """Return `value` as a text on one line, in ASCII and the letters of Western Europe.

    A control character becomes a question mark. A letter that LaTeX does not know becomes `\\otherletter{NUMBER}`.
    """
    text = " ".join(re.split(r"[^\S\u00a0]+", str(value).replace("\0", "?"))).strip(" ")
    return "".join(_letter(char) for char in LIGATURE.sub("\\1\0", text))


def latex_code(value: Any) -> str:
    """Return `value` as a text in a typewriter font, with straight quotes."""
    return latex(value).replace("'", r"\textquotesingle{}")


def _letter(char: str) -> str:
    if char == "\0":
        return "{}"
    if char in SPECIAL:
        return SPECIAL[char]
    if char.isascii() or ("\u00a1" <= char <= "\u00ff" and char != "\u00ad"):
        return "?" if unicodedata.category(char) == "Cc" else char
    return rf"\otherletter{{{ord(char):04X}}}"


def columns(text: pd.DataFrame, words: int) -> str:
    """Return the columns of a table of cells `text`, the first `words` of them words, the others numbers.

    Columns of words have widths, in proportion to their longest cells, if the table would be wider than the page.
    """
    longest, numbers = _longest(text), text.shape[1] - words
    left = PAGE - LETTER * sum(longest[words:]) - GAP * len(longest)
    if LETTER * sum(longest[:words]) <= left:
        return "l" * words + "r" * numbers
    widths = _shares(longest[:words], left)
    return "".join(rf">{{\raggedright\arraybackslash}}p{{{width:.2f}cm}}" for width in widths) + "r" * numbers


def _longest(text: pd.DataFrame) -> list[int]:
    """Return the number of letters of the longest cell, or the heading, of each column."""
    return [max(len(str(word)) for word in (name, *text.iloc[:, i])) for i, name in enumerate(text.columns)]


def _shares(lengths: list[int], left: float) -> list[float]:
    """Divide `left` centimetres in proportion to `lengths`; short columns get what they need, none less than the narrowest."""
    needed = [max(LETTER * length, NARROWEST) for length in lengths]
    fair = left / max(len(lengths), 1)
    small = sum(width for width in needed if width <= fair)
    rest = sum(width for width in needed if width > fair)
    return [width if width <= fair else max((left - small) * width / rest, NARROWEST) for width in needed]


def is_long(text: pd.DataFrame) -> bool:
    """Tell whether a table has so many rows that it may need several pages."""
    return len(text) > LONG


def size(text: pd.DataFrame, words: int) -> str:
    """Choose the size of letters with which a long table, which cannot shrink, is no wider than the page."""
    width = GAP * text.shape[1] + LETTER * sum(_longest(text)[words:]) + NARROWEST * words
    return next((name for name, factor in SIZES.items() if factor * width <= PAGE), "tiny")
