"""The options that a saved run was made with, from its `args.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.resolve import differences, identity, untold, with_rounds
from Utils.options.table import defaults
from Utils.options.types import Options


def recorded_in(folder: Path) -> dict[str, Any]:
    """Read the `args.json` of the run in `folder` (see `RunFolder.begin`); options newer than the run get their defaults.

    Raises:
        Refused: `args.json` is missing or damaged, or no experiment has the name that it gives.
    """
    recorded = read_json(folder / "args.json")
    experiment = recorded.get("experiment", DEFAULT)
    if str(experiment) not in EXPERIMENTS:
        raise Refused(f"{folder / 'args.json'}: no experiment has the name {experiment!r}")
    return defaults(experiment) | recorded


def saved_options(folder: Path) -> Options:
    """Return the options of the run in `folder`; errors as in `recorded_in`."""
    return Options.from_record(recorded_in(folder))


def check_same(folder: Path, options: Options) -> str:
    """Refuse options that differ from those of the run in `folder`, naming the differences.

    Return a note if it is unknown whether an image folder has changed; else "".
    """
    saved, asked = read_json(folder / "args.json"), identity(with_rounds(options))
    saved = defaults(options.experiment) | saved  # an option newer than the run had its default
    if changes := differences(saved, asked):
        raise Refused(f"{folder} holds another run ({', '.join(changes)}): choose another --expid or --overwrite")
    return untold(saved, asked)
