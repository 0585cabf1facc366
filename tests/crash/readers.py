"""The readers of run folders, each as the facts that it would show: what `corruption` compares."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from Utils.options.types import Grid, Options

DATA = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--no-cuda", "--result-dir", "data"]
SHAPE = ["--pruner-list", "rand", "--pre-epochs", "1", "--post-epochs", "2", "--save-trace", "--expid", "g"]
LEVELS = ["--experiment", "multishot", "--pruner", "mag", "--compression", "1", "--level-list", "2", "--pre-epochs", "2", "--expid", "m"]
REGROW = ["--experiment", "regrow", "--run", "data/multishot/m/level=2", "--regrow-fraction", "0.05", "--regrow-finetune-epochs", "1",
          "--val-fraction", "0.2", "--no-cuda", "--result-dir", "data", "--expid", "r"]  # fmt: skip
BREAKS = [*DATA, "--post-epochs", "3", "--checkpoint-every", "1", "--expid", "b"]
GRID, LADDER, BROKEN = Path("data/singleshot/g"), Path("data/multishot/m"), Path("data/singleshot/b")
CELL, LEVEL, REGROWN = GRID / "pruner=rand", LADDER / "level=2", Path("data/regrow/r")
CACHE = Path("data/dense-networks")
PLACES = (CELL, LEVEL, REGROWN, GRID, BROKEN, CACHE)  # where files are spoilt
LATER = [["--experiment", name, "--run", str(CELL)] for name in ("time", "histogram", "compact", "saliency")]
MADE = [[*DATA, *SHAPE], [*DATA, *LEVELS], REGROW, *LATER]
TABLES = ("pre-train.csv", "post-train.csv", "compression.csv", "levels.csv", "compression-level-1.csv")


class Observation(NamedTuple):
    """`facts`: the numbers shown, as text; `refusal`: what was refused or left out, and why; `error`: a traceback."""

    facts: str
    refusal: str = ""
    printed: str = ""
    error: str = ""


Reader = Callable[[Path], tuple[Any, str]]  # of the folder that something is wrong in


@cache
def _plan(*words: str) -> Options | Grid:
    from Utils.options.command_line import parse

    return parse(words)


def _again(place: Path) -> tuple[Any, str]:
    """The same command once more: the grid's folder and record, and the tables of finished cells."""
    from Utils.grid.grid_folder import check_grid_folder
    from Utils.regrowth.outputs import print_saved_regrowth
    from Utils.runs.folder import RunFolder
    from Utils.runs.places import path_of
    from Utils.runs.printing import print_saved

    if place == REGROWN:
        cells, show = [_plan(*REGROW)], print_saved_regrowth
    else:
        plan, show = _plan(*DATA, *(LEVELS if place == LEVEL else SHAPE)), print_saved
        check_grid_folder(path_of(plan), plan)
        cells = [c.options for c in plan.cells if place in (path_of(c.options), GRID)]
    for options in cells:
        with RunFolder(options) as folder:
            if not folder.finished:
                return {}, f"{folder.path} would be run again"
            show(folder.path)
    return {}, ""


def _states(place: Path) -> tuple[Any, str]:
    """What `grid.csv` and the printed table of a grid are made of."""
    from Utils.grid.grid_folder import state_of
    from Utils.grid.grid_table import read_grid

    states = [state_of(place)] if place != GRID else []
    try:
        table, refusal = read_grid(GRID / "grid.csv").to_csv(), ""
    except ValueError as error:
        table, refusal = "", f"grid.csv: {error}"
    reasons = [text for state in states for text in (state.reason, *state.notes)]
    return [(s.status, {k: v for k, v in s.summary.items() if k != "files"}) for s in states] + [table], " ".join([*reasons, refusal])


def _report(place: Path) -> tuple[Any, str]:
    """The runs of a report: options, numbers and tables of what is done; folders left out with their reasons."""
    from Utils.base.csv_files import read_named
    from Utils.report.blocks import Table
    from Utils.report.collect import collect
    from Utils.report.sections.regrowth import regrowth
    from Utils.report.sections.traces import measure

    found = collect([place])
    facts = []
    for run in found.done:
        tables = [read_named(file).to_csv() for name in TABLES if (file := run.file(name))]
        facts.append((run.folder.name, dict(run.options), dict(run.summary), tables, _networks(run.folder)))
        if run.file("trace.json"):
            from Utils.base.checksums import check_file

            check_file(run.folder / "trace.json")
            facts.append(measure(run.folder / "trace.json").summary)
    section = regrowth(found)
    facts += [(b.text.to_csv(), b.data.to_csv()) for b in section.blocks if isinstance(b, Table)] if section else []
    return facts, " ".join([*found.notes, *(f"{folder}: {reason}" for folder, reason in found.left_out)])


def _networks(folder: Path) -> str:
    """What a histogram and a report's section of weights are made of."""
    from Utils.base.checksums import check_file
    from Utils.runs.saved import MODEL, read_tensors

    check_file(folder / MODEL)
    return _digest(read_tensors(folder / MODEL))


def _evaluate(place: Path) -> tuple[Any, str]:
    """The network, data and options that evaluate, time and compact begin with, and the numbers beside them."""
    from Utils.base.json_files import read_json
    from Utils.runs.reopen import reopen

    words = ["--experiment", "evaluate", "--run", str(place), "--no-cuda"]
    run = reopen(place, _plan(*words))
    summary = read_json(place / "summary.json")
    return [_digest(run.model.state_dict()), run.options.record(), summary["top1_last"], summary["test_loss_last"]], ""


def _status(place: Path) -> tuple[Any, str]:
    """The rows of `--experiment status`."""
    from Utils.grid.status import groups_of

    groups, bad = groups_of([place])
    rows = [row for group in groups for row in group.rows]
    facts = [(row.name, row.state.status, row.progress, row.state.summary.get("top1_last")) for row in rows]
    said = [text for row in rows for text in (row.state.reason, *row.state.notes)]
    return facts, " ".join([*said, *(f"{folder}: {why}" for folder, why in bad.items())])


def _resume(place: Path) -> tuple[Any, str]:
    """The checkpoint of a run that was broken off; without one it starts over, with the right numbers."""
    from Utils.runs.folder import RunFolder

    with RunFolder(_plan(*BREAKS)) as folder:
        state = folder.resume()
        if state:
            del state["files"]["args.json"]  # which has a checksum of its content: a tab for a space changes nothing
        return ("" if state is None else _digest(state)), ("" if state else "starts over")


def _dense(place: Path) -> tuple[Any, str]:
    """The cache of dense networks; what is damaged there is trained again."""
    from Utils.base.tensor_files import unseal

    states = {path.name: unseal(path) for path in sorted(CACHE.glob("*.bin"))}
    made_again = [name for name, state in states.items() if state is None]
    return [_digest(state) for state in states.values()], " ".join(f"{name} is made again" for name in made_again)


def _digest(state: Any) -> str:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return hashlib.sha256(buffer.getvalue()).hexdigest()


READERS: dict[str, Reader] = {
    "the same command": _again, "grid.csv": _states, "report": _report, "evaluate": _evaluate, "status": _status,
    "resume": _resume, "dense networks": _dense,
}  # fmt: skip


def readers_of(place: Path) -> dict[str, Reader]:
    """Those that read anything in the folder `place`."""
    alone = {BROKEN: ("resume",), CACHE: ("dense networks",), GRID: ("the same command", "grid.csv", "report", "status")}
    return {name: READERS[name] for name in alone.get(place, tuple(READERS)[:5])}
