"""Measure every row, interleaved, and write `benchmarks/results.md` and `results.json`: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import footprint, grid, report
from benchmarks.parties import Party


def measure(parties: dict[str, Party], row: str, repeats: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Return the seconds of each party over `repeats` turns after one warm-up, and the last result of the work."""
    for party in parties.values():
        party.ask(row)
    seconds: dict[str, list[float]] = {name: [] for name in parties}
    results: dict[str, Any] = {}
    for turn in range(repeats + 1):
        for name, party in parties.items():
            taken, results[name] = party.ask("run")
            if turn:
                seconds[name].append(taken)
    return seconds, results


def measure_rows(names: Sequence[str], repeats: int, against: str | None) -> dict[str, Any]:
    """Return the entries of `results.json` for the rows named, and print each when it is measured."""
    from benchmarks.rows import ROWS

    parties = {name: Party(name) for name in ("ours", "textbook")}
    if against:
        parties["original"] = Party(against)
    record = {}
    for name in names:
        row = ROWS[name]
        seconds, results = measure(parties, name, repeats)
        scale = (1000 if row.unit == "ms" else 1) / row.count
        medians = {party: statistics.median(s) * scale for party, s in seconds.items()}
        record[name] = {"title": row.title, "unit": row.unit, "target": row.target, "medians": medians, "seconds": seconds}
        if name == "synflow":
            record[name]["same_kept_counts"] = len({str(r) for r in results.values()}) == 1
        print(report.line(record[name]), flush=True)
    for party in parties.values():
        party.ask(None)
    return record


def measure_grid(repeats: int, machine: str) -> None:
    """Measure the row `grid` and write it beside the others, which do not change."""
    row = grid.measure(repeats) | {"machine": machine}
    print(report.line(row), flush=True)
    if not (row["same_kept_counts"] and row["same_evaluations"]):
        print("WARNING: the sides of the grid did not do the same work, see results.json", flush=True)
    report.merge(row, "grid")


def measure_compaction(repeats: int | None, machine: str) -> None:
    """Measure the rows "compact against dense" and write them beside the others, which do not change."""
    from benchmarks import compaction
    from Utils.compute.allocator import keep_freed_memory

    keep_freed_memory()  # as main.py does
    repeats = repeats or compaction.REPEATS
    rows = compaction.measure(repeats)
    for row in rows.values():
        print(report.compact_line(row), flush=True)
        if not row["difference"] <= compaction.TOLERANCE:
            print("WARNING: the sides did not do the same work, see results.json", flush=True)
    report.put({"machine": machine, "repeats": repeats, "rows": rows}, "compaction")


def measure_compiled(repeats: int | None, machine: str) -> None:
    """Measure the rows "compiled against uncompiled" and write them beside the others, which do not change."""
    from benchmarks import compiled
    from Utils.compute.allocator import keep_freed_memory

    keep_freed_memory()  # as main.py does
    repeats = repeats or compiled.REPEATS
    rows = compiled.measure(repeats)
    for row in rows.values():
        print(report.compiled_line(row), flush=True)
        if not row["difference"] <= compiled.TOLERANCE:
            print("WARNING: the sides did not do the same work, see results.json", flush=True)
    report.put({"machine": machine, "repeats": repeats, "rows": rows}, "compiled")


def main() -> None:
    """Measure, print and write the tables."""
    import torch

    from benchmarks.rows import ROWS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--against", metavar="DIR", help="a checkout of the original Synaptic-Flow, measured beside the textbook")
    parser.add_argument("--repeats", type=int, help="turns of each row (default: 5; 1 of the grid, which takes minutes)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--rows", nargs="+", choices=ROWS, help="print these rows; all of them are written too")
    parts = ["grid", "compaction", "compiled", "stack"]
    which.add_argument("--only", choices=parts, help="measure this and write it beside the rest")
    which.add_argument("--no-grid", action="store_true", help="leave the row of the grid as it is")
    args = parser.parse_args()
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, {versions}"
    if not args.only:
        repeats = args.repeats or 5
        names = args.rows or list(ROWS)
        record = measure_rows(names, repeats, args.against)
        if set(names) != set(ROWS):
            return
        before = report.load()
        grid_row = {name: row for name, row in before["rows"].items() if name == "grid"}
        limits = footprint.measure(repeats)
        report.write(before | {"machine": machine, "repeats": repeats, "rows": record | grid_row, "limits": limits})
    if args.only in (None, "compaction"):
        measure_compaction(args.repeats, machine)
    if args.only in (None, "compiled"):
        measure_compiled(args.repeats, machine)
    if args.only == "stack":
        from benchmarks import stack

        report.put(stack.measure(args.repeats or 1) | {"machine": machine}, "stack")
    if args.only in (None, "grid") and not args.no_grid:
        measure_grid(args.repeats or 1, machine)


if __name__ == "__main__":
    main()
