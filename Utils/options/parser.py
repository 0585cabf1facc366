"""The parser of the command line, made from the declarations of the options."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from Utils.base.text import pick_from
from Utils.options.experiments import EXPERIMENTS
from Utils.options.flags import Parser, Switch
from Utils.options.flags import name as any_name
from Utils.options.option import Option
from Utils.options.parts import PARTS
from Utils.options.table import read_by, table

DESCRIPTION = "Prune neural networks and measure what is left: scores, masks, training, FLOPs, one folder per run."
USAGE = "main.py [--experiment NAME] [flags]"
LISTS = ("pruners", "models", "datasets", "experiments")
COMMON = "the flags that most people need"


def build_parser(kind: type[Parser] = Parser) -> Parser:
    """Build the parser of the whole command line, of class `kind`; its result omits flags that are not given."""
    parser = kind("main.py", USAGE, DESCRIPTION, allow_abbrev=False, add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("-h", "--help", action=_Help, nargs="?")
    parser.add_argument("--help-all", action=_Help, nargs=0)
    parser.add_argument("--list", choices=LISTS)
    _add(parser, table())
    return parser


class _Help(argparse.Action):
    """The action of `--help`, `--help EXPERIMENT` and `--help-all`: print and exit."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, values: Any, option_string: str | None = None) -> None:
        if option_string == "--help-all":
            text = help_of_all()
        elif values is None:
            text = short_help()
        elif values in EXPERIMENTS:
            text = help_of(values)
        else:
            parser.error(f"--help {values}: {pick_from(values, EXPERIMENTS)}, or give --help alone")
        print(text, end="")
        parser.exit()


def short_help() -> str:
    """Return the help for most people: the common flags, the experiments, and the way to the rest."""
    parser = _for_help(DESCRIPTION, _experiments())
    group = parser.add_argument_group(COMMON)
    for option in (o for o in table() if o.common):
        _add_brief(group, option)
    _add_help_flags(parser)
    return parser.format_help()


def help_of(experiment: str) -> str:
    """Return the help of one experiment: its purpose, and every flag that it reads."""
    parser = _for_help(f"{experiment}: {EXPERIMENTS[experiment].summary}.")
    _add(parser, (o for o in read_by(experiment) if o.part != "always"))
    return parser.format_help().replace("[--experiment NAME]", f"--experiment {experiment}")


def help_of_all() -> str:
    """Return the help on every flag, under the headings of the parts."""
    parser = _for_help(DESCRIPTION, _experiments())
    _add_help_flags(parser)
    _add(parser, table())
    return parser.format_help()


def _for_help(description: str, epilog: str = "") -> Parser:
    formatter = argparse.RawDescriptionHelpFormatter
    return Parser("main.py", USAGE, description, epilog, allow_abbrev=False, add_help=False, formatter_class=formatter)


def _experiments() -> str:
    width = max(map(len, EXPERIMENTS))
    lines = [f"  {name:{width}}  {experiment.summary}" for name, experiment in EXPERIMENTS.items()]
    return "\n".join(["experiments:", *lines])


def _add_help_flags(parser: Parser) -> None:
    group = parser.add_argument_group("more")
    group.add_argument("--help", metavar="EXPERIMENT", nargs="?", help="with the name of an experiment: every flag that it reads")
    group.add_argument("--help-all", action="store_true", help="every flag of every experiment")
    group.add_argument("--list", choices=LISTS, help="print what there is to choose from, and exit")


def _add(parser: Parser, options: Iterable[Option]) -> None:
    """Add options under the headings of their parts, in the order of the headings."""
    options = list(options)
    for heading in dict.fromkeys(part.heading for part in PARTS.values()):
        if below := [o for o in options if PARTS[o.part].heading == heading]:
            group = parser.add_argument_group(heading)
            for option in below:
                _add_one(group, option)


def _add_one(group: Any, option: Option) -> None:
    """Add an option with its type, so that the parser reads it."""
    if option.parse is None:
        group.add_argument(option.flag, action=Switch, help=option.help)
        return
    extra = {"choices": option.choices} if option.choices else {"metavar": _metavar(option)}
    action = "extend" if option.nargs else "store"  # a list may be given in several parts, which add up
    kind = str if option.choices and option.parse is any_name else option.parse
    group.add_argument(option.flag, action=action, type=kind, nargs=option.nargs, help=_told(option), **extra)


def _add_brief(group: Any, option: Option) -> None:
    """Add an option to the short help: without its choices, which `--list` and the other helps show."""
    if option.parse is None:
        group.add_argument(option.flag, action="store_true", help=option.help)
    else:
        group.add_argument(option.flag, metavar=_metavar(option), nargs=option.nargs, help=_told(option))


def _metavar(option: Option) -> str:
    return (option.axis or option.name).rpartition("_")[2].upper()


def _told(option: Option) -> str:
    return option.help + ("" if option.default in (None, False, "", ()) else f" (default: {_words(option.default)})")


def _words(default: object) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
