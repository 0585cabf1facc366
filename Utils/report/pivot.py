"""Tables of methods by compression: mean and standard deviation over seeds, or a word for a missing number."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from Pruners import DENSE
from Utils.report.blocks import Table
from Utils.report.groups import Group
from Utils.runs.summary_keys import Report, flags, report_columns

NOT_RUN = "not run"
JOIN = "\u00a0"  # a space without a line break
QUARTILES = ("q1", "q3")
Format = Callable[[float, float, int], str]


def pivot(
    group: Group, column: str, name: str, caption: str, text: Format | None = None, *, marks: bool = False, dense: bool = True
) -> Table:
    """Make a table with a row per compression, dense first, and a column per method.

    Cells hold `text(mean, deviation, n)`; without `text` they are as the column is declared in `Utils.runs.summary_keys`. With
    `marks`, cells tell whether their networks are collapsed or untrained. The CSV file has a row per cell with mean, standard
    deviation (of a sample), smallest, largest and n.
    """
    table, text = group.table, text or as_declared(column)
    cells = statistics(table, column)
    several = len(set(cells.loc[cells["n"] > 0, "n"])) > 1
    rows = []
    if dense and group.methods:
        own = table[table["pruner"] == DENSE]
        rows.append({"compression": "dense", "density": "100 %"} | _row(own, cells, group.methods, text, several, marks))
    for compression in sorted(table.loc[table["pruner"] != DENSE, "compression"].unique()):
        own = table[(table["compression"] == compression) & (table["pruner"] != DENSE)]
        head = {"compression": f"{compression:.6g}", "density": percent(10.0**-compression)}
        rows.append(head | _row(own, cells, group.methods, text, several, marks))
    if not group.methods:
        own = table[table["pruner"] == DENSE]
        rows = [{"network": "dense"} | {column_title(column): _cell(own, cells, text, several, marks)}]
    return Table(name, caption, pd.DataFrame(rows), cells, words=min(2, len(rows[0]) - 1))


def statistics(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return mean, standard deviation, smallest, largest and number of `column` for each method and compression.

    If each number of the column is a median with quartiles, `q1` and `q3` are the means of these.
    """
    frame = table.assign(value=pd.to_numeric(table[column]))
    found = frame.groupby(["pruner", "compression"], sort=False)
    cells = found["value"].agg(mean="mean", std="std", min="min", max="max", n="count").reset_index()
    for end in (end for end in QUARTILES if f"{column}_{end}" in table):
        numbers = frame.assign(value=pd.to_numeric(table[f"{column}_{end}"])).groupby(["pruner", "compression"], sort=False)
        cells[end] = numbers["value"].mean().to_numpy()
    marks = found[[flag.name for flag in flags()]].sum().reset_index()
    return cells.merge(marks, on=["pruner", "compression"])


def column_title(column: str) -> str:
    """Return the heading of a column of `Utils.report.groups.row`."""
    return column.replace("_", " ")


def as_declared(column: str) -> Format:
    """Return the format of a column of `Utils.report.groups.row`."""
    return format_of(report_columns()[column][1].report)


def format_of(report: Report) -> Format:
    """Return the format that a declaration asks for: a share in percent, a whole number, or a number of digits."""
    if report.percent:
        return lambda mean, std, n: percent(mean)
    if report.digits is None:
        return lambda mean, std, n: whole(mean / report.divisor, std, n)
    text = plus_minus(report.digits)
    return lambda mean, std, n: text(mean / report.divisor, std / report.divisor, n)


def percent(share: float) -> str:
    """Format a share as a percentage of three digits."""
    return f"{100 * share:.3g}{JOIN}%"


def plus_minus(digits: int, unit: str = "") -> Format:
    """Make a format `mean ± deviation`, or the mean alone for a single value."""
    return lambda mean, std, n: f"{mean:.{digits}f}{f'{JOIN}±{JOIN}{std:.{digits}f}' if n > 1 else ''}{unit}"


def whole(mean: float, std: float, n: int) -> str:
    """Format a count; the mean of several is rounded."""
    return f"{mean:,.0f}"


def _row(own: pd.DataFrame, cells: pd.DataFrame, methods: list[str], text: Format, several: bool, marks: bool) -> dict[str, str]:
    """Return the cells of a row; dense networks are the same for all methods."""
    dense = len(own) and (own["pruner"] == DENSE).all()
    parts = {method: own if dense else own[own["pruner"] == method] for method in methods}
    return {method: _cell(part, cells, text, several, marks) for method, part in parts.items()}


def _cell(own: pd.DataFrame, cells: pd.DataFrame, text: Format, several: bool, marks: bool) -> str:
    if own.empty:
        return NOT_RUN
    first = own.iloc[0]
    found = cells[(cells["pruner"] == first["pruner"]) & (cells["compression"] == first["compression"])].iloc[0]
    if not found["n"]:
        return ", ".join(sorted(set(own["status"]) - {"done"})) or "not measured"
    words = [f"n{JOIN}={JOIN}{found['n']}"] if several else []
    unfinished = int((own["status"] != "done").sum())
    words += [f"{unfinished} not finished"] if unfinished else []
    words += [_mark(mark, int(found[mark]), int(found["n"])) for mark in (flag.name for flag in flags()) if marks and found[mark]]
    return text(found["mean"], found["std"], int(found["n"])) + _quartiles(found) + (f" ({', '.join(words)})" if words else "")


def _quartiles(found: pd.Series) -> str:
    known = all(pd.notna(found.get(end)) for end in QUARTILES)
    return f" ({found['q1']:.2f}{JOIN}to{JOIN}{found['q3']:.2f})" if known else ""


def _mark(word: str, count: int, n: int) -> str:
    return word if count == n else f"{count} of {n} {word}"
