"""The progress of a run by batches: a bar on a terminal, a line every ten seconds in a log.

A run says once which parts it consists of (`RunProgress.plan`); its loops count batches and rounds of scoring. Counting reads
nothing from a device. On a card the host runs ahead of the work, so that counts and speeds are right at the end of each epoch.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from tqdm import tqdm

TRAINED, TESTED, ROUND = "trained batches", "tested batches", "rounds of scoring"  # the kinds of units
OFTEN, SELDOM = 0.2, 10.0  # seconds between two looks of a bar, and between two lines
FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} batches [{elapsed}{postfix}]"


class Part(NamedTuple):
    """A part of a run.

    Attributes:
        name: the name of its stage (`Utils/runs/stages.py`).
        units: kind -> the number of units.
        label: the words before its phase, such as `level 2/5 `.
    """

    name: str
    units: Mapping[str, int]
    label: str = ""


class RunProgress:
    """The progress of one run.

    Seconds per unit are measured for each kind apart, without the first unit, which may include compilation.

    Args:
        shown: whether it is shown; of several processes that train one network, rank 0 shows it.
    """

    def __init__(self, shown: bool = True) -> None:
        self._stream: Any = sys.stderr
        self._on_terminal = shown and self._stream is not None and self._stream.isatty()
        self._pause = OFTEN if self._on_terminal else SELDOM
        self._due = time.monotonic() + (0.0 if self._on_terminal else SELDOM) if shown else float("inf")
        self._parts: list[Part] = []
        self._at = 0
        self._done: Counter[str] = Counter()  # in the present part
        self._kind, self._count, self._units, self._first, self._since = "", 0, 0, 0, 0.0
        self._spent: Counter[str] = Counter()
        self._timed: Counter[str] = Counter()
        self._whole, self._text, self._note = "", "", ""
        self._bar: tqdm | None = None

    def plan(self, parts: Sequence[Part], whole: str = "the run") -> None:
        """Say which parts the run consists of, in their order; `whole` is what they make up."""
        self._parts, self._at, self._whole = list(parts), 0, whole
        self._done.clear()

    def enter(self, name: str) -> None:
        """Go on to the part `name`; parts before it count as done. A name that is not planned changes nothing."""
        for number in range(self._at + 1, len(self._parts)):
            if self._parts[number].name == name:
                self._at = number
                self._done.clear()
                return

    @contextmanager
    def section(self, name: str, units: Mapping[str, int], done: Mapping[str, int] | None = None) -> Iterator[None]:
        """Work on the present part, of which `done` is done. Without a plan, the section `name` of `units` is the whole."""
        planned = bool(self._parts)
        if not planned:
            self.plan([Part(name, units)], f"this {name}")
        if done is not None:
            self._done = Counter(done)
        try:
            yield
        finally:
            if not planned:
                self.plan(())
                self.close()
            elif self._bar is not None:
                self._bar.clear()  # the run may print

    @contextmanager
    def work(self, kind: str, units: int, text: str) -> Iterator[None]:
        """Do `units` of a kind, which `count` counts meanwhile; at the end they count whole. `text` says what is done."""
        self._kind, self._count, self._units, self._text = kind, 0, units, text
        self._first, self._since = int(units > 1 and kind not in self._timed), time.monotonic()
        try:
            yield
        finally:
            self._spent[kind] += time.monotonic() - self._since
            self._timed[kind] += units - self._first
            self._done[kind] += units
            self._kind = ""
        if time.monotonic() >= self._due:
            self._show()

    def count(self) -> None:
        """Count a unit that has been done, or begun on a card."""
        self._count += 1
        now = time.monotonic()
        if self._count == self._first:
            self._since = now
        if now >= self._due:
            self._show()

    def note(self, text: str) -> None:
        """Set the words at the end of the bar, such as the last accuracy."""
        self._note = text

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def status(self) -> tuple[int, int, float | None]:
        """Return the units done, all units, and the seconds left; None as long as training has not been measured."""
        total = sum(sum(part.units.values()) for part in self._parts)
        left: Counter[str] = Counter()
        for part in self._parts[self._at :]:
            left.update(part.units)
        left.subtract(self._done)
        if self._kind:
            left[self._kind] -= min(self._count, self._units)
        left = +left
        seconds = {kind: self._per_unit(kind) for kind in left}
        known = seconds.get(TRAINED, 0.0) is not None and any(seconds.values())
        return total - left.total(), total, sum(left[kind] * (seconds[kind] or 0.0) for kind in left) if known else None

    def line(self) -> str:
        """Return the progress in words: `post_train epoch 3/10, 42 % of the run, 1:20 left`."""
        done, total, left = self.status()
        share = f", {100 * done // total} % of {self._whole}" if total else ""
        return f"{self._label}{self._text}{share}{'' if left is None else f', {interval(left)} left'}"

    @property
    def _label(self) -> str:
        return self._parts[self._at].label if self._parts else ""

    def _per_unit(self, kind: str) -> float | None:
        """Return the measured seconds of a unit of `kind`, or None."""
        spent, timed = self._spent[kind], self._timed[kind]
        if kind == self._kind and self._count > self._first:
            spent, timed = spent + time.monotonic() - self._since, timed + self._count - self._first
        return spent / timed if timed else None

    def _show(self) -> None:
        self._due = time.monotonic() + self._pause
        if not self._on_terminal:
            print(self.line(), file=self._stream, flush=True)
            return
        done, total, left = self.status()
        name = f"{self._label}{self._text}"
        if self._bar is None:
            more = {"leave": False, "bar_format": FORMAT, "dynamic_ncols": True}
            self._bar = tqdm(total=total, desc=name, initial=done, file=self._stream, **more)
        self._bar.n, self._bar.total = done, total
        self._bar.set_description_str(name, refresh=False)
        words = [*([] if left is None else [f"{interval(left)} left"]), *([self._note] if self._note else [])]
        self._bar.set_postfix_str(", ".join(words), refresh=False)
        self._bar.refresh()


_own: ContextVar[RunProgress | None] = ContextVar("progress of the run in this thread", default=None)


@contextmanager
def shown_progress(shown: bool = True) -> Iterator[RunProgress]:
    """Show the progress of the run in this block, in this thread."""
    progress = RunProgress(shown)
    before = _own.set(progress)
    try:
        yield progress
    finally:
        _own.reset(before)
        progress.close()


@contextmanager
def run_progress() -> Iterator[RunProgress]:
    """Give the progress of the run in this thread; outside of a run, one for the block."""
    progress = _own.get()
    if progress is not None:
        yield progress
        return
    with shown_progress() as own:
        yield own


def plan_parts(parts: Sequence[Part]) -> None:
    """Say which parts the run in this thread consists of."""
    if (progress := _own.get()) is not None:
        progress.plan(parts)


def enter_part(name: str) -> None:
    """Go on to a part of the run in this thread (`RunProgress.enter`)."""
    if (progress := _own.get()) is not None:
        progress.enter(name)


def counter() -> Callable[[], None]:
    """Return the function that counts a unit of the run in this thread, whichever thread calls it."""
    progress = _own.get()
    return _nothing if progress is None else progress.count


def _nothing() -> None:
    pass


def interval(seconds: float) -> str:
    """Write seconds as `1:20` or `2:05:09`."""
    text = tqdm.format_interval(seconds)
    return text.removeprefix("0")
