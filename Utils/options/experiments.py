"""The experiments: each file in `Experiments/` declares one in a literal `EXPERIMENT`, read here without an import.

The literal is a dictionary of constants. `summary` and `reads` are required; `own`, `writes`, `into_runs`, `by_level`, `kind`,
`several_processes` and `prints_alone` are optional (see `Experiment`).
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "Experiments"
DEFAULT = "singleshot"  # the experiment of a command that names none
KINDS = ("pruning", "assignment", "saved runs", "regrowth", "study", "other")  # the order in which the help shows them
_LITERAL = re.compile(r"^EXPERIMENT = (\{\n.*?^\})", re.MULTILINE | re.DOTALL)
_COMMON = ("dataset", "data", "image", "model", "network", "seed", "device", "verbose", "save")
# Names in `reads` that stand for several parts of the command line (`Utils.options.parts`).
BUNDLES = {
    "common": _COMMON,
    "pruning": (*_COMMON, "prunable", "prune"),
    "training": (
        "train", "checkpoints", "epochs", "held out", "validation", "compile", "compact", "profile", "dense", "test", "augment",
    ),
    "grids": ("grid", "overrides", "lists", "seed list", "pruner list", "schedule lists", "ablations"),
    "regrowth": (*_COMMON, "run", "checkpoint", "train", "held out", "test", "augment", "regrow"),
    "saved networks": ("run", "network", "test", "device", "verbose", "data"),
}  # fmt: skip
# Defaults that come with a bundle. Bidirection-Prune-Regrowth fine-tunes with AdamW and its own weight decay of 0.01.
BUNDLED_DEFAULTS = {"regrowth": {"optimizer": "adamw", "lr": 3e-4, "train_batch_size": 128, "val_fraction": 0.1}}


@dataclass(frozen=True)
class Experiment:
    """The declaration of one experiment.

    Attributes:
        name: its name on the command line; the file is `Experiments/NAME.py`, with underscores for dashes.
        summary: its purpose, in one line.
        reads: the parts of the command line that it reads.
        own: its defaults that differ from those of the options.
        writes: the files in its folder, besides those of all runs and those of `figures/` and `tables/`.
        into_runs: whether it works on saved runs and writes these files into the folder of each.
        by_level: names of the files that each level writes, with `{}` for the level's number.
        kind: one of `KINDS`.
        several_processes: whether torchrun may run it in several processes.
        prints_alone: whether it only prints, without writing files.
    """

    name: str
    summary: str
    reads: frozenset[str]
    own: Mapping[str, Any] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    into_runs: bool = False
    by_level: tuple[str, ...] = ()
    kind: str = "other"
    several_processes: bool = False
    prints_alone: bool = False


def read_experiments(folder: Path = FOLDER) -> Mapping[str, Experiment]:
    """Read the experiments that the files in `folder` declare, by name, sorted by kind.

    A file without the literal declares no experiment.

    Raises:
        ValueError: a literal cannot be read, or has a key that no declaration has.
    """
    found = [_read(file) for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]
    experiments = [experiment for experiment in found if experiment is not None]
    return MappingProxyType({e.name: e for e in sorted(experiments, key=_place)})


def _place(experiment: Experiment) -> tuple[int, bool]:
    """The place among the experiments: by kind, the default experiment before the others."""
    return KINDS.index(experiment.kind), experiment.name != DEFAULT


def _read(file: Path) -> Experiment | None:
    literal = _LITERAL.search(file.read_text(encoding="utf-8"))
    if literal is None:
        return None
    try:
        declared = ast.literal_eval(literal[1])
        reads, own = _unbundled(declared.pop("reads"))
        own |= declared.pop("own", {})
        writes = tuple(name for pattern in declared.pop("writes", ()) for name in _names(pattern))
        return Experiment(file.stem.replace("_", "-"), reads=reads, own=own, writes=writes, **declared)
    except (ValueError, SyntaxError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: EXPERIMENT cannot be read: {error}") from error


def _unbundled(reads: Iterable[str]) -> tuple[frozenset[str], dict[str, Any]]:
    """Return the parts that `reads` names, alone or in bundles, and the defaults that come with the bundles."""
    own: dict[str, Any] = {}
    parts: set[str] = set()
    for name in reads:
        parts |= set(BUNDLES.get(name, (name,)))
        own |= BUNDLED_DEFAULTS.get(name, {})
    return frozenset(parts), own


def _names(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern stands for: `compact.{pt,csv}` -> `compact.pt`, `compact.csv`."""
    pieces = [piece.split(",") for piece in re.split(r"[{}]", pattern)]
    yield from map("".join, itertools.product(*pieces))


EXPERIMENTS = read_experiments()


def module_of(name: str) -> ModuleType:
    """Import the module of an experiment; its `run` runs it."""
    return import_module(f"Experiments.{name.replace('-', '_')}")


def of_kind(kind: str) -> tuple[str, ...]:
    """The names of the experiments of one of `KINDS`."""
    return tuple(name for name, experiment in EXPERIMENTS.items() if experiment.kind == kind)
