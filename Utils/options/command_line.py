"""The command line: parsed without torch, into the options of one run, a grid, or a list to print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from Utils.base.errors import Refused
from Utils.base.text import flag_of
from Utils.compute.torchrun import launched
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.parser import build_parser
from Utils.options.table import pop_lists, read_by, table

if TYPE_CHECKING:
    from Utils.options.types import Command, Options

TRY = (
    "python main.py --pruner synflow --compression 1",
    "python main.py --pruner-list rand mag snip grasp synflow --compression-list 0.5 1 2 --post-epochs 3",
    "python main.py --experiment assignment --preset demo --jobs 2",
)


def parse(argv: Sequence[str] | None = None) -> Command:
    """Read a command line, without importing torch.

    Raises:
        Refused: the experiment does not read a flag, or values exclude each other.
        SystemExit: status 2 after one line for a malformed flag; 0 after `--help`.
    """
    given = vars(build_parser().parse_args(argv))
    # Late imports: `--help` exits in the line above, and is quicker without them.
    from Utils.data.folder_hashes import forget
    from Utils.options.types import Listing
    from Utils.options.usage import asked

    forget()
    if "list" in given:
        if len(given) > 1:
            raise Refused(f"--list {given['list']} goes alone, without {flag_of(next(g for g in given if g != 'list'))}")
        return Listing(given["list"])
    experiment = given.get("experiment", DEFAULT)
    known = {o.name for o in read_by(experiment)} | ({"dataset"} if experiment == "assignment" else set())
    for option in table():
        if option.name in given and option.name not in known:
            readers = [name for name, entry in EXPERIMENTS.items() if option.part in entry.reads]
            raise Refused(f"{option.flag} is not read by --experiment {experiment}; it is read by {', '.join(readers)}")
    names = asked(given)
    return replace(_command(given, experiment), asked=names)


def _command(given: dict[str, Any], experiment: str) -> Options:
    """Return the assignment, the grid or the run that these flags ask for; errors as in `parse`."""
    from Utils.options.assignment import plan
    from Utils.options.grid import expand, overridden
    from Utils.options.resolve import resolve

    if experiment == "assignment":
        return plan(given)
    lists = pop_lists(given, experiment)
    if "levels" in EXPERIMENTS[experiment].reads and "level" not in lists:
        raise Refused(f"--experiment {experiment} needs --level-list, the number of levels: --level-list 5")
    if lists:
        return expand(given, lists)
    if given.get("launcher", "local") != "local":
        raise Refused(f"--launcher {given['launcher']} is for grids: give a list, such as --seed-list 1 2 3")
    return resolve(overridden(given))


def check_processes(command: Command) -> None:
    """Under torchrun, refuse a command that several processes cannot do together."""
    from Utils.options.types import Listing

    if launched()[1] == 1 or isinstance(command, Listing):
        return
    if not EXPERIMENTS[command.experiment].several_processes:
        able = " or ".join(sorted((e.name for e in EXPERIMENTS.values() if e.several_processes), reverse=True))
        raise Refused(f"torchrun is for training with --experiment {able}: run this without torchrun")
    for flag, asked in (
        ("--dry-run", command.dry_run), ("--jobs", command.jobs != 1), ("--launcher", command.launcher != "local"),
        ("--compile", any(options.compile for options in (command, *(cell.options for cell in getattr(command, "cells", ()))))),
    ):  # fmt: skip
        if asked:
            raise Refused(f"{flag} and torchrun exclude each other: run this without torchrun")


def first_words(words: Sequence[str], command: Command) -> list[str]:
    """Return the lines to print before a command begins: options that it does not use; without any words, what to try."""
    from Utils.options.types import Listing
    from Utils.options.usage import note_on_unused

    if words or isinstance(command, Listing):
        note = note_on_unused(command)
        return [note] if note else []
    what = f"{command.model} on {command.dataset} is trained densely for {command.post_epochs} epochs"
    return [f"Nothing is pruned: {what}. Commands to try:", *(f"  {line}" for line in TRY)]


def what_stands(command: Command | None) -> str:
    """Say in words what an interrupted command leaves behind; `command` is None if it was not parsed to its end."""
    return command.what_stands if command else "nothing was to be saved"
