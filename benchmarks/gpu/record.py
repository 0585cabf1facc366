"""The rows of all parts, written after each as a page and as JSON beside it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.files import atomic
from Utils.base.json_files import read_json, write_json

Row = dict[str, str | int | float | bool | None]
MEANINGLESS = "**A dry run on the CPU, as small as it can be: these numbers mean nothing.**"


class Record:
    """The measurements on one card.

    Parts that the page has from before stay, if card and versions are the same.

    Attributes:
        content: the JSON: `about` (card and versions), `date`, `dry`, and `parts` by name, each with its `about`, `date`, `rows`
            and the measurements `left_out`.
    """

    def __init__(self, page: Path, about: Mapping[str, str], dry: bool) -> None:
        self._page, self._json = page, page.with_suffix(".json")
        self._date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.content: dict[str, Any] = {"about": dict(about), "date": self._date, "dry": dry}
        self.content["parts"] = self._parts_from_before()

    def _parts_from_before(self) -> dict[str, Any]:
        try:
            before = read_json(self._json)
        except Refused:
            return {}
        same = all(before.get(key) == self.content[key] for key in ("about", "dry"))
        return before.get("parts", {}) if same else {}

    def begin(self, part: str, about: str) -> None:
        """Start the table of `part` anew."""
        self.content["parts"][part] = {"about": about, "date": self._date, "rows": [], "left_out": []}

    def add(self, part: str, row: Row) -> None:
        """Add a row and write both files."""
        self.content["parts"][part]["rows"].append(row)
        print(f"{part}: {_words(row)}", flush=True)
        self.write()

    def leave_out(self, part: str, labels: Row) -> None:
        """Name a measurement for which too little time was left, and write both files."""
        self.content["parts"][part]["left_out"].append(_words(labels))
        print(f"{part}: {_words(labels)}: left out, no time", flush=True)
        self.write()

    def write(self) -> None:
        """Write both files, each whole or not at all."""
        write_json(self._json, self.content)
        with atomic(self._page) as temporary:
            temporary.write_text(render(self.content), encoding="utf-8")


def render(content: Mapping[str, Any]) -> str:
    """Make the page of `Record.content`."""
    about = dict(content["about"])
    versions = ", ".join([about.pop("card"), *(f"{name} {version}" for name, version in about.items()), content["date"]])
    text = f"# Speed on a CUDA card\n{versions}. Made by `python -m benchmarks.gpu`.\n"
    for name, part in content["parts"].items():
        text += f"\n## {name}\n{part['about']}\n"
        text += f"Measured {part['date']}.\n" if part["date"] != content["date"] else ""
        text += f"\n{MEANINGLESS}\n" if content["dry"] else ""
        text += f"\n{table(part['rows'])}" if part["rows"] else ""
        if part["left_out"]:
            text += f"\nLeft out, because too little of `--seconds` was left: {'; '.join(part['left_out'])}.\n"
    return text


def table(rows: list[Row]) -> str:
    """Make a Markdown table whose columns are all keys of `rows`, in the order in which they appear."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(key)) for key in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(value: object) -> str:
    """Write a value so that it fits into a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _words(row: Row) -> str:
    return ", ".join(f"{key} {_cell(value)}" for key, value in row.items())
