"""The parser of the command line, made from the declarations of the options."""

from __future__ import annotations

import argparse

from Utils.options.flags import Parser, Switch
from Utils.options.table import GROUPS, table

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
            shown = "" if option.default in (None, False, "", ()) else f" (default: {_words(option.default)})"
            if option.parse is None:
                group.add_argument(option.flag, action=Switch, help=option.help)
            else:
                extra = {"choices": option.choices} if option.choices else {"metavar": option.dest.rpartition("_")[2].upper()}
                action = "extend" if option.nargs else "store"  # a list may be given in parts, none of which is forgotten
                group.add_argument(
                    option.flag, action=action, type=str if option.choices else option.parse, nargs=option.nargs,
                    help=option.help + shown, **extra
                )
    return parser


def _words(default: object) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
