"""The table of all options, put together from the groups that declare them, and queries on it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from Utils.base.text import flag_of
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.groups.data_options import DataOptions
from Utils.options.groups.general_options import GeneralOptions
from Utils.options.groups.grid_options import GridOptions
from Utils.options.groups.network_options import NetworkOptions
from Utils.options.groups.pruning_options import PruningOptions
from Utils.options.groups.regrowth_options import RegrowthOptions
from Utils.options.groups.saved_run_options import SavedRunOptions
from Utils.options.groups.training_options import TrainingOptions
from Utils.options.option import Option, options_of
from Utils.options.parts import Affects

GROUPS = (
    DataOptions, NetworkOptions, TrainingOptions, PruningOptions, GridOptions, SavedRunOptions, RegrowthOptions, GeneralOptions,
)  # fmt: skip


@lru_cache
def table() -> tuple[Option, ...]:
    """List all options, `--experiment` first."""
    found = [option for group in GROUPS for option in options_of(group)]
    return tuple(sorted(found, key=lambda option: option.part != "always"))


@lru_cache
def read_by(experiment: str) -> tuple[Option, ...]:
    """List the options that `experiment` reads."""
    reads = EXPERIMENTS[experiment].reads
    return tuple(o for o in table() if o.part == "always" or o.part in reads)


@lru_cache
def of_parts(*parts: str) -> tuple[str, ...]:
    """Name the options of these parts of the command line."""
    return tuple(o.name for o in table() if o.part in parts)


@lru_cache
def affecting(affects: Affects) -> tuple[str, ...]:
    """Name the options that affect any of these things."""
    return tuple(o.name for o in table() if affects & o.affects)


@lru_cache
def of_step_time() -> tuple[str, ...]:
    """Name the options that the time of one step of training or testing depends on, besides the machine."""
    return tuple(o.name for o in table() if o.step_time)


@lru_cache
def incidental() -> tuple[str, ...]:
    """Name the options that do not make two runs different; all others do, defaults included."""
    return tuple(o.name for o in table() if not o.affects & Affects.NAME)


def is_axis(option: Option, experiment: str) -> bool:
    """Tell whether `option` makes a grid of `experiment`: it is a list, and the experiment runs grids."""
    return option.axis is not None and "grid" in EXPERIMENTS[experiment].reads


def pop_lists(given: dict[str, Any], experiment: str) -> dict[str, Any]:
    """Take the lists that make a grid out of `given`, and return them: option that varies -> its values."""
    return {o.axis: given.pop(o.name) for o in read_by(experiment) if is_axis(o, experiment) and o.name in given}


def list_form(flag: str, experiment: str | None) -> str | None:
    """Return the list that takes several values of `flag` in a grid of `experiment`; None if the experiment reads none."""
    lists = (o for o in read_by(experiment or DEFAULT) if is_axis(o, experiment or DEFAULT))
    return next((o.flag for o in lists if flag_of(o.axis or "") == flag), None)


@lru_cache
def _defaults(experiment: str) -> dict[str, Any]:
    own = {o.name: o.default for o in read_by(experiment) if not is_axis(o, experiment) and o.name != "for"}
    own |= EXPERIMENTS[experiment].own
    return own | ({"level": 1} if "levels" in EXPERIMENTS[experiment].reads else {})


def defaults(experiment: str) -> dict[str, Any]:
    """Return the options that a run of `experiment` has, by name, with their defaults; a grid's own are left out."""
    return dict(_defaults(experiment))
