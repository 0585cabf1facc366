"""The origin of a start network: the runs that trained, pruned and perhaps regrew it, and the epochs that they trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

import Pruners
from Utils.base.checksums import check_file
from Utils.base.csv_files import read_named
from Utils.base.errors import Refused
from Utils.base.files import sha256
from Utils.base.json_files import read_json
from Utils.base.tensor_files import unseal
from Utils.base.text import one_line
from Utils.compute.precision import Precision
from Utils.options.parts import Affects
from Utils.options.resolve import without_late
from Utils.options.table import affecting
from Utils.options.types import DERIVED, Options
from Utils.regrowth.outputs import JSON, REGROWN, ROWS
from Utils.regrowth.sources import stored_file
from Utils.regrowth.start import PrunedNetwork
from Utils.runs.dense_cache import FINISHED, dense_path
from Utils.runs.saved_options import saved_options

ROOTS = ("singleshot", "multishot", "prune")  # experiments that make a sparse network from a dense one
T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """The runs that made a start network, as their folders tell.

    Attributes:
        options: those of the run that pruned.
        file: the network that it pruned: its `dense.pt`, or without dense training its `initial.pt`.
        dense_epochs: epochs of the dense training.
        sparse_epochs: epochs of all training after the pruning, those of earlier regrowths included.
        regrowths: options and number of steps of each regrowth between that run and the start network.
    """

    options: Options
    file: Path
    dense_epochs: int
    sparse_epochs: int
    regrowths: tuple[tuple[Options, int], ...] = ()

    @property
    def epochs(self) -> int:
        """The epochs that the start network was trained."""
        return self.dense_epochs + self.sparse_epochs

    def facts(self) -> dict[str, Any]:
        """Return everything that a network trained in the same way depends on, for the key of a shared result."""
        told = [_recipe(self.options), *({**_recipe(options), "steps": steps} for options, steps in self.regrowths)]
        return {"network": sha256(self.file), "recipes": told}


def find_origin(opened: PrunedNetwork) -> Origin | None:
    """Return the origin of the start network; None, with a NOTE, if it is not known.

    The NOTE is printed before hours of work, and added to those of `opened`.
    """
    try:
        if not opened.options.run:
            raise Refused(f"{opened.options.regrow_start} is not of a run of this program")
        origin = _origin_of(Path(opened.options.run[0]))
        rewound_state(opened, origin)
        return origin
    except Refused as error:
        opened.notes.append(
            f"the training of the start network cannot be repeated ({one_line(str(error))}): total_epochs is empty, and no rival "
            "is trained as long"
        )
        print(f"NOTE: {opened.notes[-1]}")
        return None


def rewound_state(opened: PrunedNetwork, origin: Origin) -> dict[str, Any] | None:
    """Return the state of training that the start's levels go back to; None if it is that of a new optimizer.

    Raises:
        Refused: the start's levels went back to an epoch whose state is not kept any more.
    """
    options = origin.options
    if not options.level or options.no_rewind or not options.rewind_epoch:
        return None
    path = dense_path(here(options, opened), Precision.of(options, opened.device))
    content = unseal(path, *FINISHED) if path and path.is_file() else None
    if content is None:
        raise Refused(f"the state after epoch {options.rewind_epoch} of its dense training is not kept any more")
    return content["rewind"]


def here(options: Options, opened: PrunedNetwork) -> Options:
    """Return options of a saved run with the folders and the network access of this command."""
    own = opened.options
    return replace(options, data_dir=own.data_dir, no_download=own.no_download, workers=own.workers)


def _origin_of(folder: Path) -> Origin:
    """Read the origin of the network that the run in `folder` saved.

    Raises:
        Refused: a foreign checkpoint is at the beginning, or a file is missing or damaged.
    """
    check_file(folder / "args.json")
    options = saved_options(folder)
    if options.reads("regrow search") and options.run:
        before = _origin_of(Path(options.run[0]))
        rows = _read(folder / ROWS, read_named).set_index("network")
        steps = len(_read(folder / JSON, read_json)["steps"])
        more = int(rows.loc[REGROWN, "epochs"])
        regrowths = (*before.regrowths, (options, steps))
        return replace(before, sparse_epochs=before.sparse_epochs + more, regrowths=regrowths)
    if options.experiment not in ROOTS:
        raise Refused(f"{folder} did not begin with a dense network of this program")
    file = stored_file(folder)
    if file is None or (options.pre_epochs and file.name != "dense.pt"):
        raise Refused(f"{folder / 'dense.pt'} is missing")
    dense, sparse = _epochs(folder) if options.reads("epochs") else (0, 0)
    if options.pruner == Pruners.DENSE or options.pruner not in Pruners.names():
        options = replace(options, pruner="mag")
    return Origin(options, file, dense, sparse)


def _epochs(folder: Path) -> tuple[int, int]:
    """Count the epochs of the dense training and of all training after it, those of levels included."""
    before, after = (_read(folder / name, read_named) for name in ("pre-train.csv", "post-train.csv"))
    trained = before[before["train_loss"].notna()]
    dense = int((trained["level"] == 0).sum()) if "level" in before else len(trained)
    return dense, len(trained) - dense + int(after["train_loss"].notna().sum())


def _read(file: Path, read: Callable[[Path], T]) -> T:
    try:
        check_file(file)
        return read(file)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise Refused(f"{file} cannot be read: {one_line(str(error))}") from error


def _recipe(options: Options) -> dict[str, Any]:
    """Return the options that a network depends on; the files that they name count by the network that was made of them."""
    names = {*affecting(Affects.RIVALS), *DERIVED} - {"run", "checkpoint", "regrow_start", "regrow_dense", "given", "place"}
    return without_late({name: value for name, value in options.record().items() if name in names})
