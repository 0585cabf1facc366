"""The command line: parsed without torch, into the options of one run or the cells of a grid."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from Experiments import EXPERIMENTS
from Utils.errors import Refused
from Utils.flags import Parser, Switch
from Utils.grid.cells import expand, overridden
from Utils.options import GROUPS, pop_lists, read_by, table
from Utils.settle import settle

DESCRIPTION = "Prune neural networks and measure what is left: scores, masks, training, FLOPs, one folder per run."
LISTS = ("pruners", "models", "datasets", "experiments")


def build_parser(kind: type[Parser] = Parser) -> Parser:
    """The parser of the whole command line, of class `kind`; it leaves out what is not given."""
    usage = "main.py [--experiment NAME] [flags]"
    parser = kind("main.py", usage, DESCRIPTION, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--list", choices=LISTS, help="print what there is to choose from, and exit")
    for title, readers in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in (o for o in table() if o.reader in readers):
            shown = "" if option.default in (None, False, "", ()) else f" (default: {option.default})"
            if option.parse is None:
                group.add_argument(option.flag, action=Switch, help=option.help)
            else:
                extra = {"choices": option.choices} if option.choices else {"metavar": option.dest.rpartition("_")[2].upper()}
                group.add_argument(option.flag, type=option.parse, nargs=option.nargs, help=option.help + shown, **extra)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line into options: those that the experiment reads, defaults filled in. torch is not imported.

    A grid's namespace has `cells`, and holds what its cells have in common (see `Utils/grid/cells.py`).

    Raises:
        Refused: a flag that the experiment does not read, or values that exclude each other.
        SystemExit: status 2 after one line for a malformed flag; 0 after `--help`.
    """
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
        from Utils.grid.assignment import plan  # late: it reads presets with this module's parser

        return plan(given)
    lists = pop_lists(given, experiment)
    if "levels" in EXPERIMENTS[experiment].reads and "level" not in lists:
        raise Refused(f"--experiment {experiment} needs --level-list, the number of levels: --level-list 5")
    if lists:
        return expand(given, lists)
    if given.get("launcher", "local") != "local":
        raise Refused(f"--launcher {given['launcher']} is for grids: give a list, such as --seed-list 1 2 3")
    return settle(overridden(given))
