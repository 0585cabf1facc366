"""A small grid with two jobs, each with three cells at once, that is killed at random moments and started again, until it is done with the right numbers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.numbers import grid_differences

PROJECT = Path(__file__).resolve().parent.parent.parent
GRID = Path("singleshot/crash")
WORDS = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--pruner-list", "snip", "mag", "--compression-list", "0.5", "1",
         "--pre-epochs", "30", "--post-epochs", "60", "--checkpoint-every", "1", "--jobs", "2", "--stack", "3", "--expid", "crash"]  # fmt: skip
DEADLINE = 600  # seconds in which a grid must end


@dataclass
class Tally:
    """What came of it; `problems` are the reasons why it failed."""

    kills: int = 0
    rounds: int = 0
    resumed: int = 0
    finished: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        text = (
            f"{self.kills} kills in {self.rounds} grids and {self.seconds:.0f} s: cells were gone on with from a checkpoint "
            f"{self.resumed} times, {self.finished} times a finished cell was found and left alone; "
        )
        return text + (f"{len(self.problems)} PROBLEMS:\n" + "\n".join(self.problems) if self.problems else "no differences")


def started(root: Path, words: list[str]) -> subprocess.Popen[bytes]:
    """`main.py` in a process group of its own."""
    command = [sys.executable, str(PROJECT / "main.py"), *words, "--result-dir", str(root)]
    with open(root.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=PROJECT, start_new_session=True)


def kill_grid(workplace: Path, kills: int, seed: int = 1, words: list[str] | None = None, start: Callable[..., Any] = started) -> Tally:
    """Kill the grid `kills` times at random moments of its course; grids that end before it is time are followed by new ones.

    Half of the moments are drawn from the whole course, half from the time after the first cell has begun.

    Args:
        workplace: where all of it is written.
        kills: how many.
        seed: of the moments.
        words: the grid's command line.
        start: begins the grid in a process group of its own; `root` and the words are given.
    """
    words, draw, tally, began = words or WORDS, random.Random(seed), Tally(), time.monotonic()
    whole = workplace / "whole"
    before = time.monotonic()
    _check_end(start(whole, [*words, "--stack", "1"]), workplace, "whole", tally)
    course = time.monotonic() - before
    while tally.kills < kills and not tally.problems:
        tally.rounds += 1
        root = workplace / f"round{tally.rounds}"
        done = _kill_round(root, words, kills, course, draw, tally, start)
        tally.problems += [f"{root.name}: {d}" for d in grid_differences(whole / GRID, root / GRID)]
        tally.problems += [f"{root.name}: {path} is left" for path in left_over(root)]
        tally.problems += [f"{root.name}: {name} was run again" for name in _changed(root, done)]
        tally.resumed += sum(log.read_text().count("Going on after epoch") for log in (root / GRID).glob("*/log.txt"))
        if not tally.problems:
            shutil.rmtree(root)
    tally.seconds = time.monotonic() - began
    return tally


def _kill_round(root: Path, words: list[str], kills: int, course: float, draw: random.Random, tally: Tally,
                start: Callable[..., Any]) -> dict[str, tuple]:  # fmt: skip
    """Start the grid, kill it, start it again, until it ends or there were enough kills; returns the cells found finished."""
    done: dict[str, tuple] = {}
    while True:
        process = start(root, words)
        if tally.kills >= kills:
            _check_end(process, root.parent, root.name, tally)
            return done
        if draw.random() < 0.5:
            _wait_for_cells(root, process)
            moment = draw.uniform(0, course / 2)
        else:
            moment = draw.uniform(0, course)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            tally.kills += 1
            tally.problems += [f"{root.name}: {name} was run again" for name in _changed(root, done)]
            done = finished_cells(root)
            tally.finished += len(done)
        else:
            _check_end(process, root.parent, root.name, tally)
            return done


def _wait_for_cells(root: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a cell writes its log, which each start appends to."""
    def size() -> int:
        return sum(log.stat().st_size for log in (root / GRID).glob("*/log.txt"))

    before, end = size(), time.monotonic() + DEADLINE
    while size() == before and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def _check_end(process: subprocess.Popen[bytes], workplace: Path, name: str, tally: Tally) -> None:
    try:
        status = process.wait(DEADLINE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    log = (workplace / name).with_suffix(".log").read_text(errors="replace")
    if status or "Traceback" in log:
        tally.problems.append(f"{name}: exit status {status}: {log[-2000:]}")


def finished_cells(root: Path) -> dict[str, tuple]:
    """When and with what the summaries and networks of the finished cells, and of the cache, were written."""
    files = [f for s in (root / GRID).glob("*/summary.json") for f in (s, s.with_name("model.pt"))]
    files += (root / "dense-networks").glob("*.bin")
    return {str(f.relative_to(root)): (f.stat().st_mtime_ns, f.stat().st_ino, f.stat().st_size) for f in files}


def _changed(root: Path, done: dict[str, tuple]) -> list[str]:
    now = finished_cells(root)
    return [name for name, facts in done.items() if now.get(name) != facts]


def left_over(root: Path) -> list[Path]:
    """Temporary files, locks and checkpoints."""
    return [p for p in root.rglob("*") if p.name.startswith((".", "tmp")) or p.suffix in (".checkpoint", ".lock", ".part") or p.name == "checkpoint.bin"]
