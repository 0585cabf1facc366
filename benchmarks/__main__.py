"""Measure every row, interleaved, and write `benchmarks/results.md` and `results.json`: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from pathlib import Path
from typing import Any

from benchmarks import footprint
from benchmarks.parties import Party

FOLDER = Path(__file__).resolve().parent


def measure(parties: dict[str, Party], row: str, repeats: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of each party over `repeats` turns after one warm-up, and what the work last returned."""
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


def main() -> None:
    """Measure, print and write the tables."""
    import torch

    from benchmarks.rows import ROWS

    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--against", metavar="DIR", help="a checkout of the original Synaptic-Flow, measured beside the textbook")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    args = parser.parse_args()
    parties = {name: Party(name) for name in ("ours", "textbook")}
    if args.against:
        parties["original"] = Party(args.against)
    lines, record = [], {}
    for name in args.rows:
        row = ROWS[name]
        seconds, results = measure(parties, name, args.repeats)
        scale = (1000 if row.unit == "ms" else 1) / row.count
        medians = {party: statistics.median(s) * scale for party, s in seconds.items()}
        record[name] = {"title": row.title, "unit": row.unit, "target": row.target, "medians": medians, "seconds": seconds}
        if name == "synflow":
            record[name]["same_kept_counts"] = len({str(r) for r in results.values()}) == 1
        original = f"{medians['original']:.3g} {row.unit}" if args.against else "-"
        ratio = medians["textbook"] / medians["ours"]
        lines.append(f"| {row.title} | {medians['ours']:.3g} {row.unit} | {medians['textbook']:.3g} {row.unit} | {original} "
                     f"| {ratio:.2f} | {row.target} |")  # fmt: skip
        print(lines[-1], flush=True)
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    where = f"{platform.machine()}, {torch.get_num_threads()} threads, {versions}"
    heading = "| work | this project | textbook | original | ratio | asked |\n|---|---|---|---|---|---|"
    text = f"# Speed\nMedians of {args.repeats} turns, all sides in turn; {where}. Made by `python -m benchmarks`.\n\n{heading}\n"
    limits = footprint.measure(args.repeats) if set(args.rows) == set(ROWS) else []
    text += "\n".join(lines) + "\n\n| what one command costs | measured | at most |\n|---|---|---|\n"
    text += "\n".join(f"| {what} | {value:.2f} {unit} | {most} {unit} |" for what, value, unit, most in limits) + "\n"
    if limits:
        (FOLDER / "results.md").write_text(text)
        content = {"machine": where, "repeats": args.repeats, "rows": record, "limits": limits}
        (FOLDER / "results.json").write_text(json.dumps(content, indent=2) + "\n")
    for party in parties.values():
        party.ask(None)


if __name__ == "__main__":
    main()
