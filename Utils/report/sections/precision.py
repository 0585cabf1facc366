"""Mixed precision beside full precision: times in pairs that took turns, peak memory, and seconds of whole trainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from Utils.report import findings
from Utils.report.blocks import Section, Table, slug
from Utils.report.captions import described, sentences
from Utils.report.groups import Group, nearest
from Utils.report.pivot import JOIN, statistics
from Utils.report.recipes import SPLIT
from Utils.report.report_run import Run
from Utils.report.times import load_of, training_apart
from Utils.runs.summary_keys import report_columns

QUANTITIES = {"memory": "train_memory", "seconds": "train_seconds"}  # columns of the table of runs
PAIRED = {"train": "training step, mixed over full", "inference": "inference, mixed over full"}
SPREAD = {"ratio": "median", "q1": "q1", "q3": "q3"}
PAIRS = "precision_pairs"  # a key of the summary


def mixed_precision(groups: list[Group]) -> Section | None:
    """Make the section: every pair of tables that differ only in mixed precision, and every table with paired times."""
    section = Section("Mixed precision")
    partners = {id(single): mixed for mixed in groups if (single := single_of(mixed, groups))}
    for group in groups:
        mixed = group if group.key["quantization"] else partners.get(id(group))
        if mixed is not group and mixed is not None:  # it is shown with its partner
            continue
        single = single_of(group, groups) if mixed else group
        rows = precision_rows(mixed, single)
        if rows:
            label = ", ".join(filter(None, ((single or group).label, mixed.name if mixed and single else "")))
            section.blocks.append(Table(slug("mixed-precision", label), f"{label}: {_caption(mixed, single)}", _text(rows),
                                        pd.DataFrame(rows), words=2))  # fmt: skip
            section.blocks += sentences(findings.precision(rows) + _not_compared(mixed, single))
    return section if section.blocks else None


def single_of(mixed: Group, groups: list[Group]) -> Group | None:
    """Return the table that differs from a table in mixed precision only in the precision; None for any other table."""
    alike = [g for g in groups if all(g.key[n] == mixed.key[n] for n in SPLIT if n != "quantization")]
    return nearest(mixed, [g for g in alike if not g.key["quantization"]]) if mixed.key["quantization"] else None


def precision_rows(mixed: Group | None, single: Group | None) -> list[dict[str, Any]]:
    """Return a row per method and compression that both have, or that has paired times, with means over seeds."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    for group in filter(None, (mixed, single)):
        for run in (r for r in group.all if r.done):
            rows.setdefault(_place(run), {"pruner": str(run["pruner"]), "compression": run.compression})
    for place, row in rows.items():
        row |= _paired(run for group in filter(None, (mixed, single)) for run in group.all if _place(run) == place)
    for word, column in QUANTITIES.items():
        divisor = report_columns()[column][1].report.divisor
        for suffix, group in (("with", mixed), ("without", single)):
            for cell in statistics(group.table, column).to_dict("records") if group else ():
                row = rows.get((cell["pruner"], cell["compression"]))
                if row is not None and cell["n"]:
                    row[f"{word}_{suffix}"], row[f"n_{suffix}"] = cell["mean"] / divisor, int(cell["n"])
    pairs = [(f"{word}_with", f"{word}_without") for word in QUANTITIES]
    return [row for row in rows.values() if row["n_paired"] or any(one in row and other in row for one, other in pairs)]


def _paired(runs: Any) -> dict[str, Any]:
    """Return the means over runs of the ratios of paired times, and of their quartiles."""
    found = [run.summary[PAIRS] for run in runs if run.summary.get(PAIRS)]
    numbers: dict[str, Any] = {"n_paired": len(found)}
    for kind in PAIRED:
        for name, key in SPREAD.items() if found else ():
            numbers[f"{kind}_{name}"] = sum(pairs[kind]["ratio"][key] for pairs in found) / len(found)
        for word in ("mixed", "full") if found else ():
            numbers[f"{kind}_{word}_seconds"] = sum(pairs[kind][f"{word}_seconds"]["median"] for pairs in found) / len(found)
    return numbers


def _place(run: Run) -> tuple[str, float]:
    return str(run["pruner"]), run.compression


def _text(rows: list[dict[str, Any]]) -> pd.DataFrame:
    text, declared = [], {word: report_columns()[column][1] for word, column in QUANTITIES.items()}
    paired = any(row["n_paired"] for row in rows)
    for row in rows:
        words = {"method": row["pruner"], "compression": f"{row['compression']:.6g}"}
        for kind, title in PAIRED.items() if paired else ():
            words[title] = _ratio(row, kind)
        for kind in PAIRED if paired else ():
            words[f"{'step' if kind == 'train' else kind} (ms), mixed and full"] = _milliseconds(row, kind)
        for word, key in declared.items():
            values = (row.get(f"{word}_{suffix}") for suffix in ("with", "without"))
            words[f"{key.label}, with and without"] = " and ".join(
                "not measured" if value is None else f"{value:.{key.report.digits}f}" for value in values
            )
        text.append(words | {"n": f"{row.get('n_with', 0)} and {row.get('n_without', 0)}"})
    return pd.DataFrame(text)


def _ratio(row: dict[str, Any], kind: str) -> str:
    if not row["n_paired"]:
        return "not measured"
    return f"{row[f'{kind}_ratio']:.2f} ({row[f'{kind}_q1']:.2f}{JOIN}to{JOIN}{row[f'{kind}_q3']:.2f})"


def _milliseconds(row: dict[str, Any], kind: str) -> str:
    if not row["n_paired"]:
        return "not measured"
    return " and ".join(f"{1e3 * row[f'{kind}_{word}_seconds']:.3f}" for word in ("mixed", "full"))


def _not_compared(mixed: Group | None, single: Group | None) -> list[str]:
    """Say why the seconds of whole trainings are not compared, with the numbers if equal trainings disagree."""
    return training_apart(run for group in filter(None, (mixed, single)) for run in group.all) if mixed and single else []


def _caption(mixed: Group | None, single: Group | None) -> str:
    both: Sequence[Group] = [group for group in (mixed, single) if group]
    runs = [run for group in both for run in group.all if run.done]
    pairs = [run.summary[PAIRS] for run in runs if run.summary.get(PAIRS)]
    texts = [str(found["mixed"]) for found in pairs] or [str(run.summary.get("precision")) for run in runs if run.mixed]
    full = f" beside {' or '.join(dict.fromkeys(str(found['full']) for found in pairs))}" if pairs else ""
    device = dict.fromkeys(str(run["device"]) for run in runs)
    of = dict.fromkeys(str(run.summary.get("peak_memory_of") or "memory") for run in runs)
    jobs = max((int(run["jobs"] or 1) for run in runs), default=1)
    batches = {kind: " or ".join(dict.fromkeys(str(found[kind]["batch_size"]) for found in pairs)) for kind in PAIRED}
    taken = (
        f"Ratios of times are medians, with quartiles, of {_range([found['train']['pairs'] for found in pairs])} pairs of calls "
        f"that took turns in one process, on one network and one batch (training {batches['train']} images, inference "
        f"{batches['inference']}). " if pairs else ""
    )  # fmt: skip
    at_once = f" Up to {jobs} cells ran at once, which disturbs times." if jobs > 1 else ""
    load = f" {found}" if (found := load_of(runs, PAIRS)) else ""
    return (
        f"mixed precision ({' or '.join(dict.fromkeys(texts))}{full}; {' or '.join(device)}). {taken}Peak of the "
        f"{' or '.join(of)} while training, in 10^6 bytes. Seconds of whole trainings, without evaluation, are of different "
        f"runs: they depend on what else the machine did.{at_once}{load} {described(both[0])}"
    )


def _range(counts: list[int]) -> str:
    return str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
