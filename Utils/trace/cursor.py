"""A JSON reader that yields one value at a time, so that only the wanted part of a large text is held in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

SPACE = re.compile(r"[ \t\r\n]*")
# Numbers with a fraction stay text, so that times are exact; kineto writes raw control characters into names.
DECODER = json.JSONDecoder(strict=False, parse_float=str)
PATIENT = json.JSONDecoder(strict=False, parse_float=str, parse_int=lambda digits: int(digits) if len(digits) < 999 else digits)


class Cursor:
    """A position in a JSON text that moves forward value by value."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0

    def peek(self) -> str:
        """Return the next character that is not white space; "" at the end."""
        self.place = SPACE.match(self.text, self.place).end()
        return self.text[self.place : self.place + 1]

    def value(self) -> Any:
        """Read the value that begins here."""
        self.peek()
        try:
            found, self.place = DECODER.raw_decode(self.text, self.place)
        except json.JSONDecodeError:
            raise
        except ValueError:  # Python refuses to convert thousands of digits to a number
            found, self.place = PATIENT.raw_decode(self.text, self.place)
        return found

    def items(self, closing: str) -> Iterator[None]:
        """Stop at each item of the list or object that begins here, until `closing`; the caller reads the item."""
        self.place += 1
        while self.peek() != closing:
            yield
            if self.peek() == ",":
                self.place += 1
            elif self.peek() != closing:
                raise self.error("Expecting ',' delimiter")
        self.place += 1

    def error(self, message: str) -> json.JSONDecodeError:
        """Return the error that says what is expected here."""
        return json.JSONDecodeError(message, self.text, self.place)


def members(cursor: Cursor) -> Iterator[tuple[str | None, Any]]:
    """Yield (key, value) for each member of the outer object, and (None, event) for each item of `traceEvents`.

    A text that is a list, without an object around it, yields (None, event) for each of its items.
    """
    opening, seen = cursor.peek(), False
    if opening == "[":
        yield from ((None, cursor.value()) for _ in cursor.items("]"))
        return
    if opening != "{":
        raise cursor.error("Expecting '{' or '['")
    for _ in cursor.items("}"):
        key = cursor.value()
        if cursor.peek() != ":":
            raise cursor.error("Expecting ':' delimiter")
        cursor.place += 1
        if key == "traceEvents" and cursor.peek() == "[":
            seen = True
            yield from ((None, cursor.value()) for _ in cursor.items("]"))
        else:
            yield str(key), cursor.value()
    if not seen:
        raise ValueError("it has no list traceEvents")
