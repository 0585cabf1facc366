"""Presets: the experiments of one assignment as a TOML file, read with the flags of the command line.

A preset has a `title`, a `description`, a table `[report]` for the report, a table `[common]` of flags, and for each `[[part]]`
its `name` and its flags, which override the common ones. Flags are written without their dashes: `lr = 0.1`,
`pruner-list = ["snip", "mag"]`, `quantization = true`. `dense = false` leaves out the part's dense network.

torch is not imported.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from Utils.base.errors import Refused
from Utils.base.inputs import read_input
from Utils.base.text import flag_of, one_line, pick_from
from Utils.options.flags import Parser
from Utils.options.option import Option
from Utils.options.override_text import split, unquoted
from Utils.options.parser import build_parser
from Utils.options.report_choices import check
from Utils.options.table import incidental, list_form, pop_lists, read_by

FOLDER = Path(__file__).resolve().parents[2] / "Experiments" / "presets"
EXPERIMENT = "singleshot"  # the experiment of every cell of an assignment
KEYS = {"title": str, "description": str, "report": dict, "common": dict, "part": list}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")


@dataclass(frozen=True)
class Part:
    """One grid of an assignment.

    Attributes:
        name: the part's name.
        given: its single options.
        lists: its options that vary, each with its values.
        dense: whether it has dense cells.
    """

    name: str
    given: dict[str, Any]
    lists: dict[str, list[Any]]
    dense: bool


@dataclass(frozen=True)
class Preset:
    """An assignment. Messages call it by `word`; the report gets `report` as it stands."""

    name: str
    word: str
    title: str
    description: str
    report: dict[str, Any]
    parts: tuple[Part, ...]

LARGEST = 1 << 20  # bytes of a preset


def names() -> list[str]:
    """List the presets that come with the project."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def read_preset(word: str) -> Preset:
    """Read the preset that `--preset` names: one of `names()`, or a file that ends in .toml.

    Raises:
        Refused: there is no such preset, or it is not valid; the line names the file, the part and the flag.
    """
    file = Path(word) if word.endswith(".toml") else FOLDER / f"{word}.toml"
    if not word.endswith(".toml") and word not in names():
        raise Refused(f"--preset {word}: {pick_from(word, names())}, or name a file, FILE.toml")
    word = f"--preset {word}"
    content = _content(file, word)
    report = content.get("report", {})
    try:
        check(report)
    except Refused as error:
        raise Refused(f"{word}, {error}") from error
    parts: dict[str, Part] = {}
    for number, table in enumerate(content.get("part", []), 1):
        part = _part(table, content.get("common", {}), f"{word}, part {number}")
        if part.name in parts:
            raise Refused(f"{word}, part {number}: there is a part {part.name} already")
        parts[part.name] = part
    if not parts:
        raise Refused(f"{word}: there is no [[part]]")
    title = content.get("title", file.stem)
    return Preset(file.stem, word, title, content.get("description", ""), report, tuple(parts.values()))


def _content(file: Path, word: str) -> dict[str, Any]:
    """Read the tables of a preset, of the types that `KEYS` asks for."""
    try:
        content = tomllib.loads(read_input(file, LARGEST).decode("utf-8"))
    except Refused as error:
        raise Refused(f"{word}: {error}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise Refused(f"{word} is no TOML: {error}") from error
    except RecursionError as error:
        raise Refused(f"{word} is no preset: its lists or tables lie too deep in each other") from error
    for key, value in content.items():
        if key not in KEYS:
            raise Refused(f"{word}: unknown key {key}: {pick_from(key, KEYS)}")
        if not isinstance(value, KEYS[key]) or (key == "part" and not all(isinstance(part, dict) for part in value)):
            wanted = {"part": "tables [[part]]", "report": "a table [report]", "common": "a table [common]"}.get(key, "text")
            raise Refused(f"{word}: {key} must be {wanted}")
    return content


def _part(table: Mapping[str, Any], common: Mapping[str, Any], where: str) -> Part:
    own, flags = dict(table), _flags()
    name, dense = own.pop("name", None), own.pop("dense", True)
    named = isinstance(name, str) and NAME.fullmatch(name)
    where = where.rpartition(" ")[0] + f" {name}" if named else where
    if unknown := next((key for key in (*common, *own) if key not in flags), None):
        raise Refused(f"{where}: unknown key {unknown}: {pick_from(unknown, ('name', 'dense', *flags))}")
    if not named:
        raise Refused(f"{where}: name = {name!r}: up to 60 letters, digits and . _ + - are expected")
    if not isinstance(dense, bool):
        raise Refused(f"{where}: dense = {dense!r}: choose from true, false")
    words: list[str] = []
    for key, value in {**common, **own}.items():
        words += _words(flags[key], value, where)
    try:
        given = vars(build_parser(_Reader).parse_args(words))
    except Refused as error:
        raise Refused(f"{where}: {error}") from error
    lists = pop_lists(given, EXPERIMENT)
    return Part(name, given, lists, dense)


def _flags() -> dict[str, Option]:
    """Return the options of a preset's parts, by flag without its dashes."""
    return {o.flag[2:]: o for o in read_by(EXPERIMENT) if o.name not in (*incidental(), "experiment")}


def read_settings(pairs: Sequence[tuple[str, str]]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Read the options and the lists of `--set OPTION=VALUE`; values of a list are separated by commas.

    Raises:
        Refused: an option is unknown or set twice, or a value is none of the option.
    """
    flags, found = _flags(), {}
    for name, text in pairs:
        key, word = flag_of(name)[2:], f"--set {flag_of(name)[2:]}={text}"
        if key not in flags:
            raise Refused(f"{word}: unknown key {key}: {pick_from(key, flags)}")
        if name in found and name != "for":
            raise Refused(f"{word}: {key} is set twice")
        option, several = flags[key], flags[key].nargs and name != "for"
        words = [option.flag, *map(unquoted, split(text))] if several else [f"{option.flag}={unquoted(text)}"]
        try:
            value = vars(build_parser(_Reader).parse_args(words))[name]
        except Refused as error:
            raise Refused(f"{word}: {error}") from error
        found[name] = [*found.get(name, ()), *value] if name == "for" else value
    return found, pop_lists(found, EXPERIMENT)


class _Reader(Parser):
    """The command line's parser for the words of a file: it raises an error instead of exiting."""

    def error(self, message: str) -> NoReturn:
        raise Refused(one_line(message))


def _words(option: Option, value: Any, where: str) -> list[str]:
    """Return the words of the command line that mean the same: `0.1` -> `--lr=0.1`, `[1, 2]` -> `--seed-list 1 2`."""
    values = value if isinstance(value, list) else [value]
    wrong = next((v for v in values if not isinstance(v, str | int | float)), None)
    if wrong is not None or (isinstance(value, list) and not option.nargs):
        wanted = "a list of texts or numbers" if option.nargs else "one text, number or truth value"
        several = list_form(option.flag, EXPERIMENT) if isinstance(value, list) else None
        wanted += f" ({several[2:]} takes several)" if several else ""
        raise Refused(f"{where}: {option.flag} takes {wanted}, not {wrong if wrong is not None else value!r}")
    if not option.nargs:
        return [f"{option.flag}={value}"]
    hidden = next((v for v in values if isinstance(v, str) and v.startswith("-")), None)
    if hidden is not None:
        raise Refused(f"{where}: {option.flag} names {hidden!r}, which begins with a dash")
    return [option.flag, *map(str, values)]
