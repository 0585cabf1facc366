"""The repair of a JSON text whose writer put paths of Windows into strings without escaping their backslashes."""

from __future__ import annotations

import re

WITH_BACKSLASH = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)+"', re.DOTALL)  # a string; outside of strings JSON has no backslash
WRONG = re.compile(r'(?:[^\\]|^)(?:\\\\)*\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
PAIR = re.compile(r'\\(?:\\|"|u[0-9a-fA-F]{4})|\\')


def escaped(text: str) -> tuple[str, int]:
    r"""Escape the backslashes of each string that has an escape which JSON does not know, and count these strings.

    In such a string, as in `"C:\Users\net.py"`, the `\n` is no end of a line either. Escaped backslashes and quotes, and letters
    in the form `\u00e9`, stay.
    """
    count = 0

    def repaired(found: re.Match[str]) -> str:
        nonlocal count
        if not WRONG.search(found[0]):
            return found[0]
        count += 1
        return PAIR.sub(lambda pair: pair[0] if len(pair[0]) > 1 else "\\\\", found[0])

    return WITH_BACKSLASH.sub(repaired, text), count
