"""A run of a report: its options, its numbers, its status and its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.text import one_line
from Utils.grid.grid_folder import state_of
from Utils.options.experiments import of_kind
from Utils.options.table import incidental
from Utils.report.best_epochs import trained_best
from Utils.runs.made_on import COMPUTED_IN, recorded_precision
from Utils.runs.saved_options import recorded_in
from Utils.runs.validate import check_options
from Utils.runs.writer import KINDS

PRUNING = of_kind("pruning")  # experiments whose runs are the rows of the tables
# The keys of `args.json` that are not part of the recipe. `contents` counts with the files that other options name; `precision`
# is what was asked, the one that was used is `computed_in`.
NOT_RECIPE = (
    "precision", "expid", "argv", "commit", "dirty", "versions", "device", "machine", "continued", "part", "place", "contents",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        folder: the folder of the run.
        options: every option that it was made with.
        summary: its `summary.json`; empty unless it is done.
        status: pending, running, done, failed or damaged.
        reason: the reason of the failure, or the damage.
        notes: a line for each later measurement that cannot be read.
    """

    folder: Path
    options: Mapping[str, Any]
    summary: Mapping[str, Any]
    status: str
    reason: str = ""
    notes: tuple[str, ...] = ()

    def __getitem__(self, option: str) -> Any:
        return self.options.get(option)

    @property
    def done(self) -> bool:
        """Whether the run has numbers."""
        return self.status == "done"

    @property
    def compression(self) -> float:
        """The compression, rounded, so that it is the same however it was given; 0 for a dense network."""
        return round(float(self["compression"] or 0.0), 9)

    @property
    def recipe(self) -> dict[str, Any]:
        """The options that make two runs different."""
        return {k: v for k, v in self.options.items() if k not in (*incidental(), *NOT_RECIPE)}

    @property
    def mixed(self) -> bool:
        """Whether the run trains in mixed precision, by `--quantization` or `--precision bf16`."""
        return bool(self["quantization"]) or self["precision"] == "bf16" or str(self[COMPUTED_IN]).startswith("mixed")

    @property
    def contents(self) -> dict[str, str]:
        """The SHA-256 of each file that an option names."""
        found = self["contents"]
        return {str(file): str(digest) for file, digest in found.items()} if isinstance(found, Mapping) else {}

    @property
    def identity(self) -> str:
        """The recipe and the contents of its files, seed included: the numbers of two runs that share it are the same."""
        return json.dumps([self.recipe, self.contents], sort_keys=True, default=str)

    @property
    def grid(self) -> str:
        """The name of the grid that the run is a cell of; empty for a single run."""
        return self.folder.parent.name if (self.folder.parent / "grid.csv").is_file() else ""

    def pictures(self, stem: str) -> dict[str, Path]:
        """Return the files of a figure that the run saved, by format."""
        return {kind: path for kind in KINDS if (path := self.file(f"{stem}.{kind}"))}

    def file(self, name: str) -> Path | None:
        """Return a file of the run, if it exists."""
        path = self.folder / name
        return path if path.is_file() else None


def read_run(folder: Path) -> Run:
    """Read the run in `folder`; what is wrong with it, if anything, is its status and reason."""
    try:
        options = recorded_in(folder)
        state = state_of(folder)
        check_options(options, str(options["experiment"]))
    except Refused as error:
        return Run(folder, {}, {}, "damaged", one_line(str(error)))
    if options["experiment"] in PRUNING and options.get("compression") is None:  # without it, it has no place in any table
        status = "damaged" if state.status == "done" else state.status
        return Run(folder, {}, {}, status, "args.json: no compression")
    summary = trained_best(folder, state.summary) if state.status == "done" else {}
    if "precision" in options:
        options = options | {COMPUTED_IN: str(summary.get("precision") or recorded_precision(options))}
    return Run(folder, options, summary, state.status, one_line(state.reason), state.notes)
