"""Checks of `args.json` and `summary.json` as they are read; an error names the first value that no run writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from Utils.base.errors import Refused
from Utils.options.flags import Pair
from Utils.options.option import Option
from Utils.options.table import read_by
from Utils.runs import summary_keys
from Utils.runs.summary_keys import FLAG, LIST, NESTED, NUMBER, NUMBERS, TEXT, WHOLE, Key, Kind

LARGEST = 1e300  # the bound of a number, so that arithmetic does not overflow
NO_UNICODE = "text that is no Unicode"
SHOWN = 40  # letters of a value


def check_options(options: Mapping[str, Any], experiment: str) -> None:
    """Refuse options of a run whose types differ from those of their flags.

    Raises:
        Refused: the message names the option and its value.
    """
    if wrong := _wrong_option(options, experiment):
        raise Refused(f"args.json: {wrong}")


def check_result(summary: Mapping[str, Any], file: str = "summary.json") -> None:
    """Refuse a summary, or a part of one, in which a key has a value of another type than `summary_keys` declares.

    Undeclared keys, of a later version of the program, are not checked.

    Raises:
        Refused: the message names the key and its value.
    """
    wrong = _wrong_value(summary_keys.KEYS, summary) if _is_unicode(summary) else NO_UNICODE
    if wrong:
        raise Refused(f"{file}: {wrong}")


def is_number(value: Any) -> bool:
    """Tell whether `value` is a finite number, small enough that sums and ratios do not overflow."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def _wrong_option(options: Mapping[str, Any], experiment: str) -> str:
    if not _is_unicode(options):
        return NO_UNICODE
    for option in read_by(experiment):
        if option.name in options and not isinstance(option.parse, Pair) and not _fits(option, options[option.name]):
            return _said(option.name, options[option.name])
    for name in ("level", "scale"):  # options of a grid, or of an assignment, in its cells
        if not is_number(options.get(name, 1)):
            return _said(name, options[name])
    argv = options.get("argv", [])
    return "" if isinstance(argv, list) and all(isinstance(word, str) for word in argv) else _said("argv", argv)


def _wrong_value(keys: Iterable[Key], content: Mapping[str, Any], place: str = "") -> str:
    """Name the first declared key of `content` with a value of another type; `place` names the mapping it is in."""
    for key in (key for key in keys if key.name in content):
        name, value = f"{place}{key.name}", content[key.name]
        if not _is_kind(key.kind, value) and not (value is None and (key.null or key.kind is NUMBER)):
            return _said(name, value)
        if key.kind is NUMBERS:
            wrong = (_said(f"{name}: {inner}", v) for inner, v in (value or {}).items() if not (v is None or is_number(v)))
        else:
            wrong = iter([_wrong_value(key.inner, value, f"{name}: ")] if key.inner and value else [])
        if found := next(wrong, ""):
            return found
    return ""


def _is_kind(kind: Kind, value: Any) -> bool:
    if kind is NUMBER:
        return is_number(value)
    if kind is WHOLE:
        return is_number(value) and value == int(value)
    types = {FLAG: bool, TEXT: str, LIST: list, **dict.fromkeys(NESTED, dict)}
    return isinstance(value, types[kind])


def _fits(option: Option, value: Any) -> bool:
    if option.parse is None:
        return isinstance(value, bool)
    if option.nargs:
        return isinstance(value, list | tuple) and all(_is_one(option, one) for one in value)
    return _is_one(option, value) or (value is None and option.default is None)


def _is_one(option: Option, value: Any) -> bool:
    return isinstance(value, str) if option.is_text else is_number(value)


def _is_unicode(content: Mapping[str, Any]) -> bool:
    """Tell whether `content` can be written to a file: JSON may hold half a surrogate pair, which is not Unicode."""
    try:
        json.dumps(content, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _said(name: str, value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < LARGEST else "a number without end"
    return f"{name} is {text if len(text) <= SHOWN else f'{text[:SHOWN]}...'}, which no run writes"
