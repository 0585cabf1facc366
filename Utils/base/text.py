"""Texts: on one line, printable, with a plural where one is needed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def is_numeral(word: str) -> bool:
    """Tell whether a word is a number, finite or not."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def one_line(text: str) -> str:
    """Put `text` on one line, without escape sequences and other control characters."""
    joined = " ".join(text.split())
    return joined if joined.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in joined)


def shown(name: object) -> str:
    """Make a name, such as a path, printable on one line: a mark replaces each control character."""
    return "".join(c if c.isprintable() else "\ufffd" for c in str(name))


def counted(number: int, word: str) -> str:
    """Put a number before a word in the right form: `1 epoch`, `2 epochs`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def few(words: Sequence[str], shown: int = 3) -> str:
    """Join the first words, and say how many more there are: `a, b, c and 2 more`."""
    more = f" and {len(words) - shown} more" if len(words) > shown else ""
    return ", ".join(words[:shown]) + more


def print_lines(lines: Iterable[str]) -> None:
    """Print each of `lines`."""
    for line in lines:
        print(line)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the question `did you mean snip? `, with the choice that is most like `word`; "" where none is similar."""
    plain = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), list(plain), 1)
    return f"did you mean {plain[near[0]]}? " if near else ""


def pick_from(word: str, choices: Iterable[str]) -> str:
    """Return the end of an error about a word that is no choice: `did you mean snip? choose from rand, snip`."""
    choices = list(choices)
    return f"{did_you_mean(word, choices)}choose from {', '.join(choices)}"


def flag_of(name: str) -> str:
    """Return the flag of an option: `pre_epochs` -> `--pre-epochs`."""
    return "--" + name.replace("_", "-")
