"""Tables as CSV files in which no spreadsheet sees a formula, whatever the names of networks, layers and folders are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from Utils.base.text import is_numeral

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula

EXACT: dict[str, Any] = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}


def write_csv(table: pd.DataFrame, file: Path) -> None:
    """Write a table with a header; texts that a spreadsheet would take for formulas get an apostrophe (see `inert`)."""
    _mapped(table, inert).rename(columns=inert).to_csv(file, index=False, errors="replace")  # as `writable` does


def read_csv(file: Path, **words: Any) -> pd.DataFrame:
    """`pandas.read_csv`, in which numbers come back to the last digit; before 3.1 pandas by itself is off by one at times."""
    return pd.read_csv(file, **EXACT, **words)


def as_named(table: pd.DataFrame) -> pd.DataFrame:
    """A table that `write_csv` wrote and somebody read, with its texts as they were."""
    return _mapped(table, plain).rename(columns=plain)


def _mapped(table: pd.DataFrame, change: Callable[[Any], Any]) -> pd.DataFrame:
    texts = {name: table[name].map(change) for name in table if not is_numeric_dtype(table[name])}
    return table.assign(**texts)


def inert(value: Any) -> Any:
    """`value`, or with an apostrophe before it where a spreadsheet would take the text for a formula; `plain` undoes it."""
    risky = isinstance(value, str) and value.lstrip("'").startswith(FORMULA) and not is_numeral(value)
    return f"'{value}" if risky else value


def plain(value: Any) -> Any:
    """What `inert` was given."""
    hidden = isinstance(value, str) and value.startswith("'") and value.lstrip("'").startswith(FORMULA)
    return value[1:] if hidden else value
