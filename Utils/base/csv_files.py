"""Tables as CSV files in which a spreadsheet sees no formula, whatever the names of networks, layers and folders are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from Utils.base.text import is_numeral

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins with one of these for a formula

NAMES = dict.fromkeys(("module", "param", "layer", "layer_in", "layer_out"), str)  # columns of names that may look like numbers

EXACT: dict[str, Any] = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}


def write_csv(table: pd.DataFrame, file: Path) -> None:
    """Write a table with a header; put an apostrophe before a text that looks like a formula (see `inert`)."""
    _mapped(table, inert).rename(columns=inert).to_csv(file, index=False, errors="replace")  # errors="replace" as in `writable`


def read_csv(file: Path, **words: Any) -> pd.DataFrame:
    """Read a CSV file by `pandas.read_csv`, with every number exact to the last digit.

    pandas before 3.1 can be off by one in the last digit by default.
    """
    return pd.read_csv(file, **EXACT, **words)


def read_named(file: Path, **words: Any) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, with the texts as they were; the names of layers stay texts, also "0.10".

    `words` are those of `pandas.read_csv`.
    """
    return as_named(read_csv(file, dtype=NAMES, **words))


def as_named(table: pd.DataFrame) -> pd.DataFrame:
    """Restore the texts of a table that `write_csv` wrote and a reader has read."""
    return _mapped(table, plain).rename(columns=plain)


def _mapped(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    texts = {name: table[name].map(change) for name in table if not is_numeric_dtype(table[name])}
    return table.assign(**texts)


def inert(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; `plain` undoes it."""
    risky = isinstance(value, str) and value.lstrip("'").startswith(FORMULA) and not is_numeral(value)
    return f"'{value}" if risky else value


def plain(value: Any) -> Any:
    """Undo `inert`."""
    hidden = isinstance(value, str) and value.startswith("'") and value.lstrip("'").startswith(FORMULA)
    return value[1:] if hidden else value
