"""The trace of an assignment's report: which run's it is, and its measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from Utils.base.checksums import check_file
from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.report.assignment.hardware import has_card
from Utils.report.assignment.words import method_name, subject_name
from Utils.report.collect import Collection
from Utils.report.report_run import Run
from Utils.trace.measure import Measured, measure

METHOD, COMPRESSION = "snip", 1.0  # of the network that the assignment traces
FILE = "trace.json"


@dataclass(frozen=True)
class Traced:
    """A measured trace.

    Attributes:
        run: the run that made it; where only the summary is there, the run that measured it.
        summary: as `Utils.trace.measure` has it.
        measured: the step itself; None where only the summary was saved.
    """

    run: Run
    summary: Mapping[str, Any]
    measured: Measured | None = None

    @property
    def on_device(self) -> bool:
        """Whether it has a stream of a device."""
        return self.summary["on"] == "device"

    @property
    def as_asked(self) -> bool:
        """Whether it is that of the method and compression that the assignment names, as far as its run is known."""
        return self.measured is None or (self.run["pruner"] == METHOD and abs(self.run.compression - COMPRESSION) < 1e-6)

    @property
    def title(self) -> str:
        """The network, the dataset and the method in words."""
        if self.measured is None:
            return str(self.run["expid"] or self.run.folder.name)
        names = subject_name(str(self.run["model"]), str(self.run["dataset"]))
        return f"{names}, pruned by {method_name(str(self.run['pruner']))} at compression {self.run.compression:.6g}"


def traced_of(collection: Collection, main: Iterable[Run]) -> tuple[Traced | None, list[str]]:
    """Choose the trace of the task, and name the traces that cannot be used.

    That of SNIP at compression 1 comes first, runs of the network `main` before others, and runs on a card before those on a CPU.
    A trace that the experiment `trace` measured takes the place of one without a stream of a device.
    """
    notes: list[str] = []
    folders = {run.folder for run in main}
    own = [run for run in collection.done if run.file(FILE)]
    own.sort(key=lambda r: (r["pruner"] != METHOD, abs(r.compression - COMPRESSION), not has_card([r]), r.folder not in folders))
    best = next((traced for run in own[:1] if (traced := _try_to_measure(run, notes))), None)
    for run in collection.traces if best is None or not best.on_device else ():
        try:
            traced = Traced(run, read_json(run.folder / "trace_summary.json"))
            best = traced if best is None or traced.on_device else best
        except (Refused, KeyError, TypeError) as error:
            notes.append(f"The trace of {run.folder.name} cannot be used ({error}).")
    return best, notes


def _try_to_measure(run: Run, notes: list[str]) -> Traced | None:
    file = run.folder / FILE
    try:
        check_file(file)
        status = file.stat()
        measured = _measured(file, status.st_mtime_ns, status.st_size)
    except Refused as error:
        notes.append(f"The trace of {run.folder.name} cannot be used ({error}).")
        return None
    return Traced(run, measured.summary, measured)


@lru_cache(maxsize=2)
def _measured(file: Path, changed: int, size: int) -> Measured:
    """Measure a trace; one that was measured just before, and has not changed, is not read again."""
    return measure(file)
