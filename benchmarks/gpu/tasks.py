"""The execution of a part's measurements one by one, within the time limit.

Each is written at once, and the failure of one does not stop the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.gpu.card import Card
from benchmarks.gpu.record import Record, Row
from benchmarks.gpu.sizes import Sizes
from Utils.base.text import one_line


@dataclass(frozen=True)
class Task:
    """One row of a table: its labels, the seconds that it may take, and the work that returns its numbers."""

    labels: Row
    seconds: float
    work: Callable[[], Row]


@dataclass(frozen=True)
class Part:
    """One table: its description, and its measurements, which may share objects that an earlier one has made."""

    about: str
    tasks: Callable[[Card, Sizes], Iterator[Task]]


def run(name: str, part: Part, card: Card, sizes: Sizes, record: Record, ends: float) -> bool:
    """Do the tasks that can end before the time `ends` (of `time.monotonic`), and name the rest; tell whether all worked."""
    worked = True
    record.begin(name, part.about)
    try:
        for task in part.tasks(card, sizes):
            if time.monotonic() + task.seconds > ends:
                record.leave_out(name, task.labels)
            else:
                worked &= _do(name, task, record)
                card.free()
    except Exception as error:
        record.add(name, {"error": reason(error)})
        return False
    return worked


def _do(name: str, task: Task, record: Record) -> bool:
    """Write the row of a task, or its error."""
    try:
        numbers = task.work()
    except Exception as error:
        record.add(name, task.labels | {"error": reason(error)})
        return False
    record.add(name, task.labels | numbers)
    return True


def reason(error: BaseException) -> str:
    """Describe in one line the error and the one before it, as the end of a broken capture raises a second error."""
    lines = str(error).splitlines()
    text = one_line(f"{type(error).__name__}: {lines[0] if lines else ''}")[:200]
    return f"{text}; before it {reason(error.__context__)}" if error.__context__ else text
