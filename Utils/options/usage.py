"""The options of a command that none of its runs uses: they are not refused, and a NOTE names them.

An option says by its declaration which runs use it (`Use`). So a loop over methods or allocations keeps one command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from Utils.options.table import table
from Utils.options.types import Command, Grid, Listing


def asked(given: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the options among those `given` on a command line, and those that `--for` sets, except switches turned off."""
    values = dict(given) | {name: value for _, name, value in given.get("for", ())}
    return tuple(name for name, value in values.items() if value is not False)


def note_on_unused(command: Command) -> str:
    """Return a NOTE that names the options asked for that no run of the command uses; "" if there is none.

    This may import pruning methods.
    """
    if isinstance(command, Listing):
        return ""
    runs = [cell.options for cell in command.cells] if isinstance(command, Grid) else [command]
    unused = [
        f"{option.flag} (it is for {option.use.by})"
        for option in table()
        if option.name in command.asked and option.use
        if not any(option.use.tells(each) for each in ([command] if option.use.of_command else runs))
    ]
    return f"NOTE: no run of this command uses {', '.join(unused)}" if unused else ""
