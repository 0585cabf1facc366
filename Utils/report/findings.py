"""Sentences that interpret the numbers of a group, computed only from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from Pruners import DENSE
from Utils.report.groups import Group
from Utils.report.pivot import as_declared, statistics
from Utils.report.times import geometric_mean, inference_apart, inference_ratio
from Utils.runs.summary_keys import Key, flags

NEAR = 1.0  # points of accuracy that count as near the dense network
MEASURED_AT = ("device", "batch_size", "jobs")  # values that two times must share to be comparable


def leaders(group: Group) -> list[str]:
    """Name the first method at each compression, compare its margin with the spread, and tell how far each is near dense."""
    cells = statistics(group.table, "accuracy")
    cells = cells[(cells["n"] > 0) & (cells["untrained"] < cells["n"])]
    pruned = pruned_cells(cells)
    lines = []
    for compression, rows in pruned.groupby("compression"):
        ranked = rows.sort_values("mean", ascending=False)
        if len(ranked) > 1:
            lines.append(_leader(compression, ranked.iloc[0], ranked.iloc[1]))
    dense = cells.loc[cells["pruner"] == DENSE, "mean"]
    return lines + (_near_dense(pruned, float(dense.iloc[0])) if len(dense) else [])


def pruned_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells in which a method removed weights: at compression 0 all are the dense network, and none leads."""
    return cells[(cells["pruner"] != DENSE) & (cells["compression"] > 0)]


def _leader(compression: float, first: pd.Series, second: pd.Series) -> str:
    margin = first["mean"] - second["mean"]
    head = f"At compression {compression:.6g}, {first['pruner']} leads with {first['mean']:.2f} %"
    if margin == 0:
        return f"{head}, and so does {second['pruner']}."
    together = "" if min(first["n"], second["n"]) < 2 else f" ({first['std'] + second['std']:.2f})"
    return f"{head}, {margin:.2f} points above {second['pruner']}{_against_spread(first, second, ': ')}{together}."


def _against_spread(first: pd.Series, second: pd.Series, joint: str) -> str:
    """Compare the difference of two means with their standard deviations, after the words `joint`."""
    if min(first["n"], second["n"]) < 2:
        return "; with one seed of a method, nothing is known of the spread"
    apart = abs(first["mean"] - second["mean"]) > first["std"] + second["std"]
    return f"{joint}{'more' if apart else 'no more'} than their two standard deviations together"


def _near_dense(pruned: pd.DataFrame, dense: float) -> list[str]:
    reached = {}
    for method, rows in pruned.groupby("pruner", sort=False):
        reached[method] = rows.loc[rows["mean"] >= dense - NEAR, "compression"].max()
    far = [method for method, compression in reached.items() if pd.isna(compression)]
    near = [f"{method} {compression:.6g}" for method, compression in reached.items() if method not in far]
    close = f"within {NEAR:g} point of the dense network ({dense:.2f} %)"
    lines = [f"The largest compression with an accuracy {close}: {', '.join(near)}."] if near else []
    return lines + ([f"Nowhere {close}: {', '.join(far)}."] if far else [])


def doubtful(group: Group) -> list[str]:
    """Name the runs that have a flag, such as collapsed or untrained."""
    lines = []
    for word, meaning in ((flag.name, flag.label) for flag in flags()):
        done = group.table[group.table["status"] == "done"]
        done = done.groupby(["pruner", "compression"], sort=False)[word].agg(["sum", "size"])
        where = [
            (m if m == DENSE else f"{m} at compression {c:.6g}") + (f" ({count} of {n})" if count < n else "")
            for (m, c), (count, n) in zip(done.index, done.to_numpy(), strict=True)
            if count
        ]
        if where:
            lines.append(f"{word.capitalize()} ({meaning}): {', '.join(where)}.")
    return lines


def inference(group: Group) -> list[str]:
    """Tell how long networks take beside their own dense network, and whether seconds of different runs can be trusted."""
    ratios = [inference_ratio(run.summary) for run in group.all if run.done]
    ratios = [ratio for ratio in ratios if ratio["median"] is not None]
    lines = inference_apart(group.all)
    if not ratios:
        return lines
    low, high = (extreme(ratio["median"] for ratio in ratios) for extreme in (min, max))
    between = f"between {low:.3f} and {high:.3f}" if len(ratios) > 1 else f"{low:.3f}"
    text = f"Each network beside its own dense network, in turn: {between} times as long"
    spread = [ratio for ratio in ratios if ratio["q1"] is not None and ratio["q3"] is not None]
    if spread:
        text += f" (quartiles of single pairs from {min(r['q1'] for r in spread):.3f} to {max(r['q3'] for r in spread):.3f})"
    measured = [run.summary.get("inference") or {} for run in group.all if run.done]
    timed = [times for times in measured if times.get("total_seconds")]
    if len({tuple(str(times.get(name)) for name in MEASURED_AT) for times in timed}) > 1:
        unlike = "devices, batches, or cells at once were not the same for all, so that methods cannot be told apart"
        return [f"{text}; {unlike}.", *lines]
    if group.key.get("compact"):
        return [f"{text}; dead units were cut out.", *lines]
    return [f"{text}. All have the same dense kernels, so that the distance from 1 is the measurement's noise.", *lines]


def ranked(group: Group, column: str, key: Key) -> list[str]:
    """Name the methods with the best and the second best value of a number; compare their margin with the spread."""
    cells, text, lines = statistics(group.table, column), as_declared(column), []
    extreme = {"higher": "highest", "lower": "lowest"}[key.report.better]
    for compression, rows in pruned_cells(cells[cells["n"] > 0]).groupby("compression"):
        order = rows.sort_values("mean", ascending=key.report.better == "lower")
        if len(order) < 2 or order["mean"].iloc[0] == order["mean"].iloc[1]:
            continue
        first, second = order.iloc[0], order.iloc[1]
        named = [f"{row['pruner']} ({text(row['mean'], row['std'], 1)})" for row in (first, second)]
        head = f"At compression {compression:.6g}, {named[0]} has the {extreme} {key.label or key.name}, {named[1]} the next"
        lines.append(f"{head}{_against_spread(first, second, '; the difference is ')}.")
    return lines


def flops(group: Group) -> list[str]:
    """Name the methods that keep most and fewest FLOPs at each compression."""
    cells = statistics(group.table, "flops_ratio")
    lines = []
    for compression, rows in pruned_cells(cells[cells["n"] > 0]).groupby("compression"):
        most, least = rows.loc[rows["mean"].idxmax()], rows.loc[rows["mean"].idxmin()]
        if most["mean"] > least["mean"]:
            lines.append(
                f"At compression {compression:.6g}, {most['pruner']} keeps most FLOPs ({most['mean']:.2%} of the dense network), "
                f"{least['pruner']} fewest ({least['mean']:.2%}), at the same number of weights."
            )
    return lines


def emptied(group: Group) -> list[str]:
    """Name the layers that each method emptied, by compression."""
    found: dict[tuple[str, float], dict[str, None]] = {}
    for run in (r for r in group.runs if r.done):
        for layer in run.summary.get("collapsed_layers") or ():
            found.setdefault((str(run["pruner"]), run.compression), {})[str(layer)] = None
    return [
        f"{pruner} at compression {compression:.6g} keeps nothing of {', '.join(layers)}."
        for (pruner, compression), layers in sorted(found.items())
    ]


def extremes(densities: pd.DataFrame) -> list[str]:
    """Name the densest and the sparsest layer of each method; `densities` has layers as rows and methods as columns."""
    lines = []
    for method in densities:
        values = densities[method].dropna()
        if len(values) > 1 and values.max() > values.min():
            most, least = f"{values.idxmax()} ({values.max():.2%})", f"{values.idxmin()} ({values.min():.2%})"
            lines.append(f"{method} keeps most of {most} and least of {least}.")
    return lines


def trace(summary: Mapping[str, Any]) -> list[str]:
    """Name the classes of work that took most of the step's time, largest first."""
    rows = sorted(summary["classes"], key=lambda row: -row["ms"]) if summary.get("classes") else []
    shares = [f"{row['class']} {row['share_of_step']:.1%}" for row in rows[:3] if row["ms"]]
    idle = summary["busy"]["idle_ms"] / summary["step"]["wall_ms"] if summary["step"]["wall_ms"] else 0.0
    line = f"The step spends its time on {', '.join(shares)}; nothing runs for {idle:.1%} of it." if shares else ""
    return [line] if line else []


def precision(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tell how mixed precision changes time and memory.

    `rows` have paired ratios of times with quartiles, and peak memory `with` and `without` it, as far as they were measured.
    """
    lines = []
    for kind, work in (("train", "a training step"), ("inference", "inference")):
        own = [row for row in rows if row.get(f"{kind}_ratio")]
        if own:
            mean, n = geometric_mean([row[f"{kind}_ratio"] for row in own]), len(own)
            head = f"In mixed precision {work} takes {mean:.2f} times as long as in full precision, measured in turn"
            over = f" (geometric mean of {n} networks)" if n > 1 else ""
            lines.append(f"{head}{over}; {_told_apart([(row[f'{kind}_q1'], row[f'{kind}_q3']) for row in own])}.")
    ratios = [r["memory_with"] / r["memory_without"] for r in rows if r.get("memory_with") and r.get("memory_without")]
    if ratios:
        mean = geometric_mean(ratios)
        text = f"With mixed precision the peak memory of training is {mean:.2f} times that without"
        lines.append(f"{text} (geometric mean of {len(ratios)} pair{'s' * (len(ratios) > 1)} of runs).")
    return lines


def _told_apart(quartiles: Sequence[tuple[float, float]]) -> str:
    """Say where the quartiles of ratios lie: on one side of 1, or on both, where no difference can be told."""
    both, n = sum(q1 <= 1 <= q3 for q1, q3 in quartiles), len(quartiles)
    below, above = sum(q3 < 1 for _, q3 in quartiles), sum(q1 > 1 for q1, _ in quartiles)
    if n == 1:
        side = "lie on both sides of 1, so that no difference can be told" if both else f"lie {'below' if below else 'above'} 1"
        return f"the quartiles of the pairs {side}"
    where = [f"{word} 1 for {count}" for word, count in (("below", below), ("above", above)) if count]
    where += [f"on both sides of 1 for {both}, so that no difference can be told there"] if both else []
    return f"the quartiles of the pairs lie {', '.join(where)}"
