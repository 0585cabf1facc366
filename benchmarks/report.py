"""The files of the results: `results.json`, and `results.md` for readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import stack

FOLDER = Path(__file__).resolve().parent
HEADING = "| work | this project | textbook | original | ratio | asked |\n|---|---|---|---|---|---|"
COMPACT_HEADING = (
    "| work | compact, contiguous | channels last | dense, contiguous | channels last | multiply-adds left | ratio | asked |\n"
    "|---|---|---|---|---|---|---|---|"
)
COMPILED_HEADING = "| work | compiled | uncompiled | ratio | compilation |\n|---|---|---|---|---|"


def load(folder: Path = FOLDER) -> dict[str, Any]:
    """Read the content that `write` wrote last.

    It has `machine`, `repeats`, `rows` by name, `limits`, and `compaction` and `compiled` once they are measured. Without a file
    it has no rows.
    """
    path = folder / "results.json"
    return json.loads(path.read_text()) if path.exists() else {"machine": "", "repeats": 0, "rows": {}, "limits": []}


def write(content: dict[str, Any], folder: Path = FOLDER) -> None:
    """Write both files."""
    (folder / "results.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "results.md").write_text(render(content))


def merge(row: dict[str, Any], name: str, folder: Path = FOLDER) -> None:
    """Write one row beside the existing ones, whose numbers stay."""
    content = load(folder)
    content["rows"][name] = row
    write(content, folder)


def put(part: dict[str, Any], name: str, folder: Path = FOLDER) -> None:
    """Write the part `name` of the results beside the others, whose numbers stay."""
    write(load(folder) | {name: part}, folder)


def line(row: dict[str, Any]) -> str:
    """Return a row of the table."""
    medians, unit = row["medians"], row["unit"]
    original = f"{medians['original']:.3g} {unit}" if "original" in medians else "-"
    ratio = medians["textbook"] / medians["ours"]
    return (
        f"| {row['title']} | {medians['ours']:.3g} {unit} | {medians['textbook']:.3g} {unit} | {original} "
        f"| {ratio:.2f} | {row['target']} |"
    )


def render(content: dict[str, Any]) -> str:
    """Return the text of `results.md`."""
    text = f"# Speed\nMedians of {content['repeats']} turns, all sides in turn; {content['machine']}. Made by "
    text += f"`python -m benchmarks`.\n\n{HEADING}\n" + "".join(line(row) + "\n" for row in content["rows"].values())
    if "grid" in content["rows"]:
        text += f"\n{_about_grid(content['rows']['grid'])}\n"
    text += "\n| what one command costs | measured | at most |\n|---|---|---|\n"
    text += "".join(f"| {what} | {value:.2f} {unit} | {most} {unit} |\n" for what, value, unit, most in content["limits"])
    text += f"\n{_about_compaction(content['compaction'])}" if "compaction" in content else ""
    text += f"\n{_about_compiled(content['compiled'])}" if "compiled" in content else ""
    return text + (f"\n{stack.text(content['stack'])}" if "stack" in content else "")


def compact_line(row: dict[str, Any]) -> str:
    """Return a row of the table "compact against dense"; the ratio is that of the better formats."""
    medians, unit = row["medians"], row["unit"]
    compact, dense = ([medians[side][name] for name in ("contiguous", "channels last")] for side in ("compact", "dense"))
    cells = " | ".join(f"{value:.3g} {unit}" for value in (*compact, *dense))
    return f"| {row['title']} | {cells} | {100 * row['macs']:.1f} % | {min(dense) / min(compact):.2f} | {row['target']} |"


def _about_compaction(part: dict[str, Any]) -> str:
    return (
        "## Compact against dense\n"
        "Lottery vgg16-bn for images of 3x32x32, seed 1: pruned by SynFlow in 100 rounds and without its dead units "
        "(`Models/compact.py`), against the dense network without masks. Both in one process, in turn, on the same batch, in "
        "float32 and in both memory formats; the ratio is that of the better ones. For inference BatchNorm is folded and ReLU "
        "in place on both sides; a training step is forward, cross entropy, backward and Adam, and holds the masks on the "
        f"compact side. Freed memory is kept, as `main.py` does. Medians of {part['repeats']} turns; {part['machine']}. "
        f"Made by `python -m benchmarks --only compaction`.\n\n{COMPACT_HEADING}\n"
    ) + "".join(compact_line(row) + "\n" for row in part["rows"].values())


def compiled_line(row: dict[str, Any]) -> str:
    """Return a row of the table "compiled against uncompiled"."""
    plain, compiled = row["medians"]["plain"], row["medians"]["compiled"]
    times = f"{compiled:.3g} {row['unit']} | {plain:.3g} {row['unit']} | {plain / compiled:.2f}"
    return f"| {row['title']} | {times} | {row['compilation']:.0f} s |"


def _about_compiled(part: dict[str, Any]) -> str:
    return (
        "## Compiled against uncompiled\n"
        "ResNet20, random images of 3x32x32, batch 64: the runner's steps with and without `--compile`, in one process, in the "
        "order plain, compiled, compiled, plain. The last column is the compilation, which is not in the times; it is shorter "
        f"where torch's cache has the code. Medians of {part['repeats']} turns; {part['machine']}. "
        f"Made by `python -m benchmarks --only compiled`.\n\n{COMPILED_HEADING}\n"
    ) + "".join(compiled_line(row) + "\n" for row in part["rows"].values())


def _about_grid(row: dict[str, Any]) -> str:
    turns = f"median of {row['repeats']} turns" if row["repeats"] > 1 else "one turn"
    return (
        f"The grid was measured by itself (`python -m benchmarks --only grid`): {turns}, whole processes, {row['machine']}. "
        f"This project's side is one command with `--jobs {row['jobs']}`. It has a dense baseline cell more than the loop and "
        "saves every run; it trains the dense network of mag once, where the loop trains it for each compression."
    )
