"""Mixed precision beside single precision: training time and peak memory."""

from __future__ import annotations

import pandas as pd

from Utils.report import findings
from Utils.report.blocks import Section, Table, slug
from Utils.report.captions import described, sentences
from Utils.report.groups import Group, nearest
from Utils.report.pivot import statistics
from Utils.report.recipes import SPLIT
from Utils.runs.summary_keys import report_columns

QUANTITIES = {"memory": "train_memory", "seconds": "train_seconds"}  # columns of the table of runs


def mixed_precision(groups: list[Group]) -> Section | None:
    """Make the section: every pair of tables that differ only in `--quantization`."""
    section = Section("Mixed precision")
    for mixed in groups:
        single = single_of(mixed, groups)
        rows = _rows(mixed, single) if single else []
        if rows:
            name, caption = slug("mixed-precision", single.label), f"{single.label}: {_caption(mixed, single)}"
            section.blocks.append(Table(name, caption, _text(rows), pd.DataFrame(rows), words=2))
            section.blocks += sentences(findings.precision(rows))
    return section if section.blocks else None


def single_of(mixed: Group, groups: list[Group]) -> Group | None:
    """Return the table that differs from a table in mixed precision only in the precision; None for any other table."""
    alike = [g for g in groups if all(g.key[n] == mixed.key[n] for n in SPLIT if n != "quantization")]
    return nearest(mixed, [g for g in alike if not g.key["quantization"]]) if mixed.key["quantization"] else None


def _rows(mixed: Group, single: Group) -> list[dict[str, object]]:
    """Return a row per method and compression that both have, with means over seeds."""
    rows: dict[tuple[str, float], dict[str, object]] = {}
    for word, column in QUANTITIES.items():
        divisor = report_columns()[column][1].report.divisor
        for suffix, group in (("with", mixed), ("without", single)):
            for cell in statistics(group.table, column).to_dict("records"):
                place = (cell["pruner"], cell["compression"])
                row = rows.setdefault(place, {"pruner": place[0], "compression": place[1]})
                if cell["n"]:
                    row[f"{word}_{suffix}"], row[f"n_{suffix}"] = cell["mean"] / divisor, int(cell["n"])
    return [row for row in rows.values() if any(f"{w}_with" in row and f"{w}_without" in row for w in QUANTITIES)]


def _text(rows: list[dict[str, object]]) -> pd.DataFrame:
    text, declared = [], {word: report_columns()[column][1] for word, column in QUANTITIES.items()}
    for row in rows:
        words = {"method": row["pruner"], "compression": f"{row['compression']:.6g}"}
        for suffix in ("with", "without"):
            for word, key in declared.items():
                value = row.get(f"{word}_{suffix}")
                words[f"{key.label}, {suffix}"] = "not measured" if value is None else f"{value:.{key.report.digits}f}"
        text.append(words | {"n": f"{row.get('n_with')} and {row.get('n_without')}"})
    return pd.DataFrame(text)


def _caption(mixed: Group, single: Group) -> str:
    runs = [run for run in mixed.all if run.done]
    precision = dict.fromkeys(str(run.summary.get("precision")) for run in runs)
    device = dict.fromkeys(str(run["device"]) for run in runs)
    of = dict.fromkeys(str(run.summary.get("peak_memory_of") or "memory") for run in runs)
    jobs = max((int(run["jobs"] or 1) for run in [*runs, *single.all]), default=1)
    at_once = f" Up to {jobs} cells ran at once, which disturbs times." if jobs > 1 else ""
    return (
        f"training with and without mixed precision ({' or '.join(precision)}; {' or '.join(device)}). Seconds of training "
        f"without evaluation; peak of the {' or '.join(of)} while training, in 10^6 bytes.{at_once} {described(mixed)}"
    )
