"""Texts and blocks that several sections share: settings and n, sentences, curves, and the compression shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.figures.accuracy import compression_figure
from Utils.report.blocks import Block, Figure, Note, Sentences
from Utils.report.groups import Group
from Utils.report.recipes import rounds_of
from Utils.report.report_run import Run


def described(group: Group, trained: bool = True) -> str:
    """Return settings, the rounds of iterative methods, and n, the end of a caption."""
    done = group.table[group.table["status"] == "done"]
    spread = "mean ± standard deviation over seeds" if done.duplicated(["pruner", "compression"]).any() else "one seed"
    recipe = f"{group.recipe}; " if trained and group.recipe else ""
    found = rounds_in(run for run in group.runs if run.done)
    rounds = f"{found}; " if found else ""
    text = f"{recipe}{rounds}{spread}, {group.n()}."
    return text[0].upper() + text[1:]


def rounds_in(runs: Iterable[Run | Mapping[str, Any]]) -> str:
    """Name the rounds of each method that takes, or usually takes, more than one: `synflow with 1 or 100 rounds`.

    `runs` are runs, or options of runs.
    """
    found: dict[str, set[int]] = {}
    for run in runs:
        options = run.options if isinstance(run, Run) else run
        if (method := str(options.get("pruner"))) != DENSE:
            found.setdefault(method, set()).add(int(options.get("prune_epochs") or rounds_of(method) or 1))
    words = []
    for method, counts in found.items():
        if max(counts) > 1 or (rounds_of(method) or 1) > 1:
            words.append(f"{method} with {' or '.join(map(str, sorted(counts)))} round{'s' * (counts != {1})}")
    return ", ".join(words)


def with_rounds(options: Mapping[str, Any]) -> str:
    """Return the method of these options, with its rounds if it is an iterative one."""
    return rounds_in([options]) or str(options["pruner"])


def recipe_and_n(group: Group, runs: Sequence[Run]) -> str:
    """Return the recipe of the training, the rounds of iterative methods, and the number of seeds of `runs`: a caption's end."""
    recipe = f"{group.recipe[0].upper()}{group.recipe[1:]}; " if group.recipe else ""
    rounds = f"{rounds_in(runs)}; " if rounds_in(runs) else ""
    return f"{recipe}{rounds}{group.n(runs)}."


def sentences(lines: list[str]) -> list[Block]:
    """Return a block of generated sentences, if there are any."""
    return [Sentences(lines)] if lines else []


def compression_curves(group: Group, column: str, name: str, label: str, log: bool = False) -> list[Block]:
    """Return the table as curves, if there is more than one compression."""
    runs = group.table.assign(**{column: pd.to_numeric(group.table[column])}).dropna(subset=[column])
    if runs["compression"].nunique() < 2 or not group.methods:
        return []
    drawing = compression_figure(runs, column, group.label, label, log)
    caption = f"{group.label}: {label} against compression. {described(group, False)}"
    description = f"A line for each of {', '.join(group.methods)}: {label} against compression; the table above has the numbers."
    return [Figure(name, caption, description, drawing)]


def not_shown(group: Group, shown: Sequence[str], what: str) -> list[Block]:
    """Return a line that names the methods of a table whose layers or weights are not shown, if there are any."""
    others = [method for method in group.methods if method not in shown]
    if not others:
        return []
    text = f"{what} of {', '.join(shown)}; --experiment report --layer-method all shows {', '.join(others)} too."
    return [Note(f"{group.label}: {text}")]


def shown_compression(group: Group, asked: float | None) -> float | None:
    """Choose the compression whose layers are shown: the one asked for if the group has it, else the middle one, if any."""
    found = sorted({run.compression for run in group.runs if run.done})
    near = [c for c in found if asked is not None and abs(c - asked) < 1e-6]
    return near[0] if near else found[(len(found) - 1) // 2] if found else None
