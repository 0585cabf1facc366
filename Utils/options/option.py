"""The declaration of one option: a field of a dataclass that carries its flag, its help and what it affects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from Utils.base.text import flag_of
from Utils.options.flags import name as any_name
from Utils.options.parts import PARTS, Affects


@dataclass(frozen=True)
class Option:
    """One flag of the command line.

    Attributes:
        name: its name in `Options` and in `args.json`.
        part: the part of the command line that it belongs to; an experiment reads whole parts.
        help: its line in the help.
        default: its value where it is not given and the experiment has none of its own.
        parse: the function that reads one value from text; None for a switch.
        choices: the texts that it accepts; None for any that `parse` reads.
        nargs: argparse's number of values.
        axis: for a list, the name of the option that takes one of its values in each cell of a grid.
        affects: the things that change with it.
        paces: whether the time of a run depends on it; a grid's `args.json` keeps it for the cells that have not begun.
        file: whether its value names a file, whose content then counts with its name.
        late: whether runs were named before it existed: at its default it is no part of a name.
        common: whether the short help shows it.
    """

    name: str
    part: str
    help: str
    default: Any
    parse: Callable[[str], Any] | None
    choices: tuple[str, ...] | None
    nargs: str | None
    axis: str | None
    affects: Affects
    paces: bool
    file: bool
    late: bool
    common: bool

    @property
    def flag(self) -> str:
        """Its flag, such as `--lr-drops`."""
        return flag_of(self.name)

    @property
    def is_text(self) -> bool:
        """Whether its values are texts, neither numbers nor pairs."""
        return self.parse in (str, any_name)


def option(
    part: str,
    help: str,
    default: Any = None,
    parse: Callable[[str], Any] | None = any_name,
    *,
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] | None = None,
    nargs: str | None = None,
    axis: str | None = None,
    affects: Affects | None = None,
    paces: bool = False,
    file: bool = False,
    late: bool = False,
    common: bool = False,
    key: str = "",
) -> Any:
    """Declare a field as an option (see `Option`). `choices` may be a function, which is called when they are needed.

    `key` is its name where the flag is a word that Python keeps for itself.
    """
    declared = {
        "part": part, "help": help, "default": default, "parse": parse, "choices": choices, "nargs": nargs, "axis": axis,
        "affects": PARTS[part].affects if affects is None else affects, "paces": paces, "file": file, "late": late,
        "common": common, "name": key,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata={"option": declared})


def options_of(group: type) -> list[Option]:
    """The options that a dataclass declares, in its order, choices looked up."""
    found = []
    for declared in dataclasses.fields(group):
        if told := declared.metadata.get("option"):
            choices = told["choices"]() if callable(told["choices"]) else told["choices"]
            found.append(Option(**{**told, "choices": choices, "name": told["name"] or declared.name}))
    return found
