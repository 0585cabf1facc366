"""The command line: parsed without torch, into the options of one run or the cells of a grid."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from Utils.base.errors import Refused
from Utils.data.contents import forget
from Utils.options.experiments import EXPERIMENTS
from Utils.options.grid import expand, overridden
from Utils.options.parser import build_parser
from Utils.options.resolve import settle
from Utils.options.table import pop_lists, read_by, table


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line into options: those that the experiment reads, defaults filled in. torch is not imported.

    A grid's namespace has `cells`, and holds what its cells have in common (see `Utils/options/grid.py`).

    Raises:
        Refused: a flag that the experiment does not read, or values that exclude each other.
        SystemExit: status 2 after one line for a malformed flag; 0 after `--help`.
    """
    forget()
    given = vars(build_parser().parse_args(argv))
    if "list" in given:
        if len(given) > 1:
            other = next(g for g in given if g != "list").replace("_", "-")
            raise Refused(f"--list {given['list']} goes alone, without --{other}")
        return argparse.Namespace(**given)
    experiment = given.get("experiment", "singleshot")
    known = {o.dest: o for o in read_by(experiment)}
    for option in table():
        if option.dest in given and option.dest not in known:
            readers = [e for e, entry in EXPERIMENTS.items() if option.reader in entry.reads]
            raise Refused(f"{option.flag} is not read by --experiment {experiment}; it is read by {', '.join(readers)}")
    if experiment == "assignment":
        from Utils.options.assignment import plan  # late: it reads presets with this module's parser

        return plan(given)
    lists = pop_lists(given, experiment)
    if "levels" in EXPERIMENTS[experiment].reads and "level" not in lists:
        raise Refused(f"--experiment {experiment} needs --level-list, the number of levels: --level-list 5")
    if lists:
        return expand(given, lists)
    if given.get("launcher", "local") != "local":
        raise Refused(f"--launcher {given['launcher']} is for grids: give a list, such as --seed-list 1 2 3")
    return settle(overridden(given))


def prints_alone(options: argparse.Namespace) -> bool:
    """Whether all that the command does is to print."""
    return "list" in options or getattr(options, "dry_run", False) or options.experiment in ("status", "inspect", "evaluate")


def what_stands(options: argparse.Namespace | None) -> str:
    """What is left of a command that is interrupted, in words."""
    if options is None or "list" in options or prints_alone(options):
        return "nothing was to be saved"
    if getattr(options, "no_save", False):
        return "--no-save: nothing was saved"
    if "cells" in options or "preset" in options or "checkpoint_every" in options:
        return "the same command goes on from the last checkpoint"
    return "the same command begins again"
