"""Texts: on one line, as a terminal can show them, with a plural where one is due."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def is_numeral(word: str) -> bool:
    """Tell whether a word is a number, also one that is not finite."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def one_line(text: str) -> str:
    """`text` as a terminal can show it: in one line, without escape sequences and other control characters."""
    joined = " ".join(text.split())
    return joined if joined.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in joined)


def shown(name: object) -> str:
    """A name, such as a path, as a terminal can show it in one line: with a mark for each control character."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(name))


def counted(number: int, word: str) -> str:
    """A number with a word in the right form: `1 epoch`, `2 epochs`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def print_lines(lines: Iterable[str]) -> None:
    """Print each of `lines`."""
    for line in lines:
        print(line)


def pick_from(word: str, choices: Iterable[str]) -> str:
    """The end of an error about a word that is no choice: `did you mean snip? choose from rand, snip`.

    Nothing is asked where no choice is near.
    """
    choices = list(choices)
    near = difflib.get_close_matches(word.lower(), choices, 1)
    return f"{f'did you mean {near[0]}? ' if near else ''}choose from {', '.join(choices)}"


def flag_of(name: str) -> str:
    """The flag of an option: `pre_epochs` -> `--pre-epochs`."""
    return "--" + name.replace("_", "-")
