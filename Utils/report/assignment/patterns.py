"""Sentences about the tables of Task 1, computed from their numbers alone."""

from __future__ import annotations

import re

from Utils.report import findings
from Utils.report.assignment.subjects import Subject, Subjects
from Utils.report.assignment.words import METHODS, method_name, several
from Utils.report.pivot import statistics
from Utils.runs.summary_keys import flags

NAMES = re.compile(rf"\b({'|'.join(METHODS)})\b")


def patterns(subjects: Subjects) -> list[str]:
    """Name the most accurate method at each compression, the methods near dense, the words of marked cells, and times."""
    main = subjects.main
    lines = [*_highest(main), *_near_dense(main), *_work(main)]
    lines += [f"{flag.name.capitalize()} in a table: {flag.label}." for flag in flags() if _occurs(subjects, flag.name)]
    return [*lines, *map(in_words, findings.inference(main.group))]


def in_words(line: str) -> str:
    """Write the names of the assignment's methods as it does."""
    return NAMES.sub(lambda match: METHODS[match[1]], line)


def _highest(subject: Subject) -> list[str]:
    """Name the most accurate method at each compression, its distance to the next, and the deviations over several seeds."""
    cells = statistics(subject.group.table, "accuracy")
    cells = findings.pruned_cells(cells[(cells["n"] > 0) & (cells["untrained"] < cells["n"])])
    words = []
    for compression, rows in cells.groupby("compression"):
        if len(rows) < 2:
            continue
        first, second = (row for _, row in rows.sort_values("mean", ascending=False).head(2).iterrows())
        spread = min(first["n"], second["n"]) > 1
        deviations = f" (their deviations together: {first['std'] + second['std']:.2f})" if spread else ""
        margin, next_one = first["mean"] - second["mean"], method_name(second["pruner"])
        apart = f"{margin:.2f} points above {next_one}{deviations}" if margin else f"as has {next_one}"
        words.append(f"{method_name(first['pruner'])} at compression {compression:.6g} ({first['mean']:.2f} %, {apart})")
    return [f"Most accurate: {several(words)}."] if words else []


def _occurs(subjects: Subjects, flag: str) -> bool:
    """Tell whether any run of the tables has a flag."""
    return any(bool(subject.group.table[flag].any()) for subject in subjects.all)


def _near_dense(subject: Subject) -> list[str]:
    """Quote the sentences about the methods near the dense network."""
    return [in_words(line) for line in findings.leaders(subject.group) if "dense network" in line]


def _work(subject: Subject) -> list[str]:
    """Name the methods that keep most and fewest FLOPs at each compression."""
    cells = statistics(subject.group.table, "flops_ratio")
    words = []
    for compression, rows in findings.pruned_cells(cells[cells["n"] > 0]).groupby("compression"):
        most, least = rows.loc[rows["mean"].idxmax()], rows.loc[rows["mean"].idxmin()]
        if most["mean"] > least["mean"]:
            words.append(
                f"at compression {compression:.6g} {method_name(most['pruner'])} ({most['mean']:.1%} of the dense network) and "
                f"{method_name(least['pruner'])} ({least['mean']:.1%})"
            )
    return [f"Most and fewest FLOPs at the same number of weights: {several(words)}."] if words else []
