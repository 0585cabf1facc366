"""The grammar of `--for`: `PRUNER[@OPTION=VALUE[,OPTION=VALUE...]]:OPTION[=VALUE]`, as `snip@compression=1:save-trace`.

A value of a condition that contains a colon or a comma stands in quotes: `snip@dataset="folder:PATH":lr=0.1`.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

from Pruners import spelt

FORM = "PRUNER[@OPTION=VALUE,...]:OPTION[=VALUE]"
_QUOTED = r"\"[^\"]*\"|'[^']*'"
_CONDITION = rf"[^=,:@]+=(?:{_QUOTED}|[^,:\"']*)"
_OVERRIDE = re.compile(rf"([^@:=]+)(?:@({_CONDITION}(?:,{_CONDITION})*))?:([^:=]+)(?:=(.*))?", re.DOTALL)
_SPLIT = re.compile(rf"((?:{_QUOTED}|[^,])*)(?:,|$)")


def override(text: str) -> tuple[str, str, str | None]:
    """Parse an override: `mag:pre-epochs=200` -> ("mag", "pre_epochs", "200").

    The first text is the target, a pruner and its conditions: `SNIP@compression=1:save-trace` -> ("snip@compression=1",
    "save_trace", None).
    """
    found = _OVERRIDE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form {FORM}, such as mag:pre-epochs=200 or snip@compression=1:save-trace; "
            "a condition's value with a colon or a comma stands in quotes"
        )
    pruner, conditions, option, value = found.groups()
    told: dict[str, str] = {}
    for word in split(conditions or ""):
        name, _, asked = word.partition("=")
        if _plain(name) in told:
            raise argparse.ArgumentTypeError(f"{text!r} has two conditions on {name}")
        told[_plain(name)] = unquoted(asked)
    return target(spelt(pruner), told), _plain(option), None if value is None else unquoted(value)


def target(pruner: str, conditions: Mapping[str, str]) -> str:
    """Write a target: ("snip", {"prune_epochs": "1"}) -> `snip@prune-epochs=1`."""
    words = [f"{name.replace('_', '-')}={_quoted(value)}" for name, value in conditions.items()]
    return f"{pruner}@{','.join(words)}" if words else pruner


def read_target(text: str) -> tuple[str, dict[str, str]]:
    """Read what `target` wrote."""
    pruner, _, conditions = text.partition("@")
    pairs = (word.partition("=")[::2] for word in split(conditions))
    return pruner, {_plain(name): unquoted(value) for name, value in pairs}


def written(where: str, option: str, value: str | None) -> str:
    """Write an override as the command line has it."""
    return f"{where}:{option.replace('_', '-')}{'' if value is None else f'={value}'}"


def split(text: str) -> list[str]:
    """Split a text at its commas, those in quotes excepted; empty pieces are left out."""
    return [piece for piece in _SPLIT.findall(text) if piece]


def unquoted(value: str) -> str:
    """Take the quotes away that stand around a value."""
    return value[1:-1] if re.fullmatch(_QUOTED, value) else value


def _quoted(value: str) -> str:
    mark = "'" if '"' in value else '"'
    return f"{mark}{value}{mark}" if re.search("[:,\"'@]", value) else value


def _plain(name: str) -> str:
    return name.strip().removeprefix("--").replace("-", "_")
