"""The kinds of a parsed command line: the options of one run, a grid of runs, or a list to print."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.groups.data_options import DataOptions
from Utils.options.groups.general_options import GeneralOptions
from Utils.options.groups.grid_options import GridOptions
from Utils.options.groups.network_options import NetworkOptions
from Utils.options.groups.pruning_options import PruningOptions
from Utils.options.groups.regrowth_options import RegrowthOptions
from Utils.options.groups.saved_run_options import SavedRunOptions
from Utils.options.groups.training_options import TrainingOptions
from Utils.options.table import defaults, of_parts

DERIVED = ("level", "split_seed", "regrow_start", "given", "place")  # fields of `Options` that no flag sets


@dataclass(frozen=True, kw_only=True, eq=False)
class Options(
    DataOptions,
    NetworkOptions,
    TrainingOptions,
    PruningOptions,
    GridOptions,
    SavedRunOptions,
    RegrowthOptions,
    GeneralOptions,
):
    """The options of one run.

    An option that the experiment does not read has its default, and is not recorded.

    Attributes:
        level: the number of levels of a multishot run.
        split_seed: the seed of the images held out in a regrowth, which is that of the run that it starts from.
        regrow_start: the file of the network to regrow.
        given: in an experiment on saved runs, the options on the command line, which override those of the saved run.
        place: the name of the folder that replaces the experiment's if the run is a cell of an assignment.
        asked: the options that the command line named (`Utils.options.usage`); they are not recorded.
    """

    level: int | None = None
    split_seed: int | None = None
    regrow_start: str | None = None
    given: Sequence[str] | None = None
    place: str | None = None
    asked: Sequence[str] = ()

    def reads(self, part: str) -> bool:
        """Tell whether the experiment reads this part of the command line (`Utils.options.parts`)."""
        return part in EXPERIMENTS[self.experiment].reads

    @property
    def prints_alone(self) -> bool:
        """Whether the command only prints."""
        return self.dry_run or EXPERIMENTS[self.experiment].prints_alone

    @property
    def what_stands(self) -> str:
        """The state that an interruption of the command leaves behind, in words."""
        if self.prints_alone:
            return "nothing was to be saved"
        if self.no_save:
            return "--no-save: nothing was saved"
        return "the same command goes on from the last checkpoint" if self.resumes else "the same command begins again"

    @property
    def resumes(self) -> bool:
        """Whether the same command continues where it was interrupted."""
        return self.reads("checkpoints") and self.checkpoint_every != 0

    def record(self) -> dict[str, Any]:
        """Return the options as `args.json` keeps them: those that the experiment reads, and those derived from them."""
        names = [*defaults(self.experiment), *(name for name in DERIVED if getattr(self, name) is not None)]
        if self.reads("regrow"):
            names += of_parts("prunable")  # those of the network that is regrown
        if self.place:
            names.append("scale")  # of the assignment
        return {name: getattr(self, name) for name in dict.fromkeys(names)}

    @classmethod
    def from_record(cls, recorded: Mapping[str, Any]) -> Options:
        """Restore the options of a saved run from its `args.json`; an option newer than the run has its default."""
        values = defaults(str(recorded.get("experiment", DEFAULT))) | dict(recorded)
        return cls(**{name: value for name, value in values.items() if name in FIELDS})


FIELDS = frozenset(declared.name for declared in dataclasses.fields(Options))


@dataclass(frozen=True)
class Cell:
    """One run of a grid.

    Attributes:
        name: the cell's name.
        values: the options that the name is made of.
        options: all options; their `expid` is GRID/NAME.
    """

    name: str
    values: Mapping[str, Any]
    options: Options


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid(Options):
    """A grid: its cells, the dense baseline first. Its own fields as `Options` are those that the cells share.

    Attributes:
        cells: the cells.
        recorded: the content of `args.json`, without the names of the cells.
    """

    cells: tuple[Cell, ...]
    recorded: Mapping[str, Any]

    @property
    def resumes(self) -> bool:
        """Whether the same command continues where it was interrupted: with the cells that are not done."""
        return True

    def record(self) -> dict[str, Any]:
        """Return the options that were given to the grid, its lists and its `--for`."""
        return dict(self.recorded)

    @classmethod
    def of(cls, recorded: Mapping[str, Any], cells: Sequence[Cell], **more: Any) -> Grid:
        """Make the grid of these cells, with the options in `recorded`."""
        known = {name: value for name, value in recorded.items() if name in FIELDS}
        return cls(**known, recorded=recorded, cells=tuple(cells), **more)


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment(Grid):
    """The grid of an assignment; `parts` maps each part's name to the options that its cells share, and its lists."""

    parts: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Listing:
    """A `--list` of pruners, models, datasets or experiments."""

    what: str
    prints_alone: ClassVar[bool] = True
    what_stands: ClassVar[str] = "nothing was to be saved"


Command = Options | Grid | Listing
