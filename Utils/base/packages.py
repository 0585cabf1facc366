"""Packages that only some options need."""

from __future__ import annotations

import importlib.util

from Utils.base.errors import Refused


def require(package: str, flag: str, listed: str = "") -> None:
    """Refuse `flag` if `package`, which requirements-FLAG.txt or requirements-LISTED.txt names, is not installed.

    Raises:
        Refused: the message names the command that installs it.
    """
    if importlib.util.find_spec(package) is None:
        name = listed or flag.removeprefix("--").partition(" ")[2] or flag.removeprefix("--")
        raise Refused(f"{flag} needs {package}: pip install -r requirements-{name}.txt")
