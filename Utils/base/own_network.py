"""The network of a saved run that comes from a user's own file.

The run's folder keeps a copy of the source for the reader. The program runs a source only if the command names it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.inputs import read_input

USER = "user"  # the class of such networks in `Models.registry`
COPY = "network.py"  # in the run's folder
LARGEST = 1 << 26  # bytes of a source file
SHOWN = 12  # digits of a checksum


def source_of(model: str, model_class: str | None) -> Path | None:
    """Return the file that `--model FILE.py:FUNCTION` names; None for networks of other classes."""
    return Path(model.rpartition(":")[0]).expanduser() if model_class == USER else None


def network_of_run(folder: Path, recorded: Mapping[str, Any], given: str | None) -> str:
    """Return the network of the run in `folder`, as `--model` names it.

    For a network from a file, the command line has to name that file in `given`, or the copy in the run's folder. `recorded` is
    the run's `args.json`.

    Raises:
        Refused: the run's network is from a file, and `given` names none or another one; or it is not from a file, and `given`
            names another network.
    """
    model = str(recorded.get("model"))
    if recorded.get("model_class") != USER and ".py:" not in model:
        if given not in (None, model):
            raise Refused(f"--model {given} is not what {folder} has: its network is {model}; leave out --model")
        return model
    file, _, function = model.rpartition(":")
    contents = recorded.get("contents")
    wanted = contents.get(file) if isinstance(contents, Mapping) else None
    if given is None:
        known = next((name for name in (file, str(folder / COPY)) if wanted is not None and _digest(name) == wanted), file)
        raise Refused(f"{folder} has a network from a file, which is run only where it is named: give --model {known}:{function}")
    own, _, asked = given.rpartition(":")
    if not own.endswith(".py") or asked != function:
        raise Refused(f"--model {given} is not the network of {folder}: give --model FILE.py:{function}")
    found = _digest(own)
    if found is None:
        raise Refused(f"--model {given}: there is no file {own}")
    if found != wanted:
        raise Refused(
            f"--model {given} is not the network of {folder}: the file's SHA-256 is {found[:SHOWN]}..., "
            f"that of the run's {file} {str(wanted)[:SHOWN]}..."
        )
    return given


def _digest(file: str) -> str | None:
    try:
        return hashlib.sha256(read_input(Path(file).expanduser(), LARGEST)).hexdigest()
    except Refused:
        return None
