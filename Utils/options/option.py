"""The declaration of one option: a field of a dataclass with its flag, its help and its effects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from Utils.base.text import flag_of
from Utils.options.flags import name as any_name
from Utils.options.parts import PARTS, Affects


@dataclass(frozen=True)
class Use:
    """The runs that use an option, where not all that read it do.

    Attributes:
        by: these runs, in words that follow "it is for".
        tells: whether a run with these resolved options uses it; it may import a pruning method.
        of_command: whether `tells` takes the whole command, a run or a grid, in place of each of its runs.
    """

    by: str
    tells: Callable[[Any], object]
    of_command: bool = False


@dataclass(frozen=True)
class Option:
    """One flag of the command line.

    Attributes:
        name: its name in `Options` and in `args.json`.
        part: its part of the command line; an experiment reads whole parts.
        help: its line in the help.
        default: its value if it is not given and the experiment has no default of its own.
        parse: the function that reads one value from text; None for a switch.
        choices_in: the texts that it accepts, or the function that finds them; None for every text that `parse` reads.
        nargs: argparse's number of values.
        axis: for a list, the name of the option that takes one of its values in each cell of a grid.
        affects: the things that change with it.
        paces: whether the time of a run depends on it; a grid's `args.json` keeps it for the cells that have not begun.
        step_time: whether the time of one step of training or testing depends on it.
        file: whether its value names a file, whose content then counts with its name.
        late: whether runs were named before it existed; at its default such an option is no part of a name.
        common: whether the short help shows it.
        use: the runs that use it; None if all do that read it.
    """

    name: str
    part: str
    help: str
    default: Any
    parse: Callable[[str], Any] | None
    choices_in: tuple[str, ...] | Callable[[], tuple[str, ...]] | None
    nargs: str | None
    axis: str | None
    affects: Affects
    paces: bool
    step_time: bool
    file: bool
    late: bool
    common: bool
    use: Use | None

    @property
    def choices(self) -> tuple[str, ...] | None:
        """The texts that it accepts, looked up now; None for every text that `parse` reads."""
        return self.choices_in() if callable(self.choices_in) else self.choices_in

    @property
    def flag(self) -> str:
        """The flag, such as `--lr-drops`."""
        return flag_of(self.name)

    @property
    def is_text(self) -> bool:
        """Tell whether its values are texts, not numbers or pairs."""
        return self.parse in (str, any_name) or self.choices_in is not None


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
    step_time: bool = False,
    file: bool = False,
    late: bool = False,
    common: bool = False,
    use: Use | None = None,
    key: str = "",
) -> Any:
    """Declare a field as an option (see `Option`).

    `choices` may be a function, which is called when they are needed. `key` is the option's name if its flag is a word that
    Python reserves.
    """
    declared = {
        "part": part, "help": help, "default": default, "parse": parse, "choices_in": choices, "nargs": nargs, "axis": axis,
        "affects": PARTS[part].affects if affects is None else affects, "paces": paces, "step_time": step_time,
        "file": file, "late": late, "common": common, "use": use, "name": key,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata={"option": declared})


def options_of(group: type) -> list[Option]:
    """List the options that a dataclass declares, in its order."""
    found = []
    for declared in dataclasses.fields(group):
        if told := declared.metadata.get("option"):
            found.append(Option(**{**told, "name": told["name"] or declared.name}))
    return found
