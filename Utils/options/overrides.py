"""The overrides of `--for` in the cells of a grid, or in a single run.

An override applies to the cells of its pruner that meet its conditions. Of two that set the same option of a cell, the one with
more conditions counts.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from Pruners import DENSE
from Utils.base.errors import Refused
from Utils.base.text import did_you_mean, flag_of, pick_from
from Utils.data.catalogue import own_name
from Utils.options.experiments import DEFAULT
from Utils.options.flags import TRUTH
from Utils.options.option import Option
from Utils.options.override_text import read_target, split, unquoted, written
from Utils.options.parts import PARTS
from Utils.options.resolve import with_density
from Utils.options.table import defaults, is_axis, read_by
from Utils.options.types import Options

NAMED = ("compression", "density", "sparsity", "model", "dataset", "seed")  # options of conditions, besides those that lists vary
Asked = tuple[str, str, str | None]  # target, option, value (see `Utils.options.override_text`)


@dataclass(frozen=True)
class Override:
    """One override: its words, its pruner, its conditions by option, the option that it sets and the value."""

    word: str
    pruner: str
    conditions: Mapping[str, Any]
    option: str
    value: Any


@dataclass
class Overrides:
    """The overrides of one command.

    Attributes:
        all: the overrides.
        unused: the words of each override whose pruner no cell has, with its refusal.
    """

    experiment: str
    all: list[Override] = field(default_factory=list)
    unused: dict[Asked, str] = field(default_factory=dict)
    _asked: dict[int, Asked] = field(default_factory=dict, repr=False)
    _seen: dict[tuple[str, str], list[Any]] = field(default_factory=dict, repr=False)
    _used: set[int] = field(default_factory=set, repr=False)

    @classmethod
    def read(cls, given: Mapping[str, Any], pruners: Sequence[str], varied: Mapping[str, str]) -> Overrides:
        """Read the `--for` of a command; `varied` maps each option that a list varies, or rules out, to the list's flag.

        Raises:
            Refused: an option or a value is unknown, or a list varies the option.
        """
        found = cls(given.get("experiment", DEFAULT))
        known = list(dict.fromkeys(pruners))
        may_be_set, told = settable(found.experiment), _of_conditions(found.experiment)
        for asked in given.get("for", ()):
            override = _read(asked, may_be_set, told, varied)
            twice = (override.pruner, override.conditions, override.option)
            if any((o.pruner, o.conditions, o.option) == twice for o in found.all):
                name = flag_of(override.option)[2:]
                raise Refused(f"{override.word}: {name} is set twice for {asked[0]}")
            if override.pruner not in known:
                near = did_you_mean(override.pruner, known)
                reason = f"no cell has the pruner {override.pruner}; {near}the pruners are {', '.join(known)}"
                found.unused[tuple(asked)] = f"{override.word}: {reason}"
                continue
            found._asked[len(found.all)] = tuple(asked)
            found.all.append(override)
        return found

    def of(self, given: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is set in a cell with the options `given`; `more` are values that are no options, such as `ablate`."""
        pruner = given.get("pruner", defaults(self.experiment).get("pruner", ""))
        own = [(number, o) for number, o in enumerate(self.all) if o.pruner == pruner]
        if not own:
            return {}
        facts: Mapping[str, Any] = {}
        if any(o.conditions for _, o in own):
            facts = _facts(given, self.experiment) | more
            for name in {name for _, o in own for name in o.conditions}:
                seen = self._seen.setdefault((pruner, name), [])
                seen += [] if facts[name] in seen else [facts[name]]
        chosen: dict[str, Override] = {}
        for number, o in own:
            if not all(_same(facts[name], value) for name, value in o.conditions.items()):
                continue
            self._used.add(number)
            rival = chosen.get(o.option)
            if rival and len(rival.conditions) == len(o.conditions):
                what = f"{rival.word[6:]} sets {flag_of(o.option)[2:]} of the same cell"
                raise Refused(f"{o.word}: {what}, with as many conditions")
            if rival is None or len(o.conditions) > len(rival.conditions):
                chosen[o.option] = o
        return {name: o.value for name, o in chosen.items()}

    def left(self) -> dict[Asked, str]:
        """Return each override that applied to no cell, with its refusal, once `of` has been called for every cell."""
        return self.unused | {self._asked[i]: self._reason(o) for i, o in enumerate(self.all) if i not in self._used}

    def _reason(self, o: Override) -> str:
        for name, value in o.conditions.items():
            there = self._seen.get((o.pruner, name), [])
            if not any(_same(each, value) for each in there):
                return f"{o.word}: no cell of {o.pruner} has {_told(name, value)}; there are {', '.join(map(_text, there))}"
        return f"{o.word}: no cell of {o.pruner} has {' and '.join(_told(*each) for each in o.conditions.items())}"

    def check_used(self) -> None:
        """Refuse an override that applied to no cell."""
        for reason in self.left().values():
            raise Refused(reason)


def settable(experiment: str) -> dict[str, Option]:
    """Return the options that `--for` may set in an experiment, by name."""
    single = (o for o in read_by(experiment) if not is_axis(o, experiment))
    return {o.name: o for o in single if PARTS[o.part].per_pruner and o.name != "pruner"}


def _of_conditions(experiment: str) -> dict[str, Option]:
    """Return the options that a condition may name, with the parser of one value."""
    lists = {o.axis: replace(o, nargs=None) for o in read_by(experiment) if is_axis(o, experiment) and o.axis != "pruner"}
    return lists | {o.name: o for o in read_by(experiment) if o.name in NAMED}


def _read(asked: Asked, may_be_set: Mapping[str, Option], told: Mapping[str, Option], varied: Mapping[str, str]) -> Override:
    where, dest, text = asked
    word = f"--for {written(*asked)}"
    pruner, conditions = read_target(where)
    if dest not in may_be_set:
        raise Refused(f"{word}: {pick_from(flag_of(dest)[2:], (flag_of(name)[2:] for name in may_be_set))}")
    if dest in varied:
        raise Refused(f"{word}: {varied[dest]} says already what each cell has; leave one of them out")
    if text is None and may_be_set[dest].parse is not None:
        raise Refused(f"{word}: only a switch goes without a value: write {word[6:]}=VALUE")
    for name in conditions:
        if name not in told:
            raise Refused(f"{word}: no condition on {name}: {pick_from(flag_of(name)[2:], (flag_of(n)[2:] for n in told))}")
    wanted = {name: value_of(told[name], value, word) for name, value in conditions.items()}
    return Override(word, pruner, wanted, dest, True if text is None else value_of(may_be_set[dest], text, word))


def value_of(option: Option, text: str, word: str) -> Any:
    """Read the value of an option from a text; a list is separated by commas.

    Raises:
        Refused: it is no value of the option; the line begins with `word`.
    """
    if option.parse is None:
        truth = TRUTH.get(text.lower())
        if truth is None:
            raise Refused(f"{word}: choose from True, False")
        return truth
    if option.choices and text not in option.choices:
        raise Refused(f"{word}: {pick_from(text, option.choices)}")
    try:
        return [option.parse(unquoted(part)) for part in split(text)] if option.nargs else option.parse(text)
    except argparse.ArgumentTypeError as error:
        raise Refused(f"{word}: {error}") from error


def _facts(given: Mapping[str, Any], experiment: str) -> dict[str, Any]:
    """Return the values of a cell that conditions are compared with, before any override."""
    options = Options(**defaults(experiment) | dict(given))
    if options.pruner != DENSE and options.reads("prune"):
        options = with_density(options, given)
    return {name: getattr(options, name, None) for name in _of_conditions(experiment)}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    if isinstance(one, str) and isinstance(other, str):
        return own_name(one) == own_name(other) or one.replace("_", "-") == other.replace("_", "-")
    return bool(one == other)


def _told(name: str, value: Any) -> str:
    return f"{flag_of(name)[2:]} {_text(value)}"


def _text(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else "the default" if value is None else str(value)


def recorded(overrides: Iterable[Asked]) -> list[list[str]]:
    """Return overrides as `args.json` keeps them: a switch without a value is turned on."""
    return [[where, option, "true" if value is None else value] for where, option, value in overrides]
