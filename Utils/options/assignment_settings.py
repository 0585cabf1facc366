"""The changes that a command makes to a preset: `--set OPTION=VALUE` in every part, and `--dataset OLD=NEW`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from Utils.base.errors import Refused
from Utils.base.text import did_you_mean, flag_of
from Utils.data.catalogue import find, own_name
from Utils.options.override_text import read_target, target, written
from Utils.options.overrides import Asked
from Utils.options.presets import EXPERIMENT, Part, read_settings
from Utils.options.resolve import SAME_THING
from Utils.options.table import defaults

LONGEST = 100  # characters of the words in a folder's name


@dataclass(frozen=True)
class Settings:
    """The changes to a preset.

    Attributes:
        given: new values of single options; `for` holds overrides.
        lists: new values of lists, by the option that varies.
        datasets: the dataset to replace and its replacement, or nothing.
        words: the changes as the command line has them, in the order of the alphabet.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    lists: Mapping[str, list[Any]] = field(default_factory=dict)
    datasets: tuple[str, str] | None = None
    words: Sequence[str] = ()

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Settings:
        """Read the changes from the options of a command line.

        Raises:
            Refused: an option, a value or a dataset is unknown, or `--seed-list` is given twice.
        """
        pairs, text = given.get("set", ()), given.get("dataset")
        single, lists = read_settings(pairs)
        if "seed_list" in given and ("seed" in lists or "seed" in single):
            raise Refused("--seed-list and --set both give the seeds: leave one of them out")
        words = [f"{flag_of(name)[2:]}={value}" for name, value in pairs]
        if text is None:
            return cls(single, lists, None, sorted(words))
        old, equals, new = text.partition("=")
        if not (old and equals and new):
            raise Refused(f"--dataset {text}: an assignment replaces a dataset of its preset: OLD=NEW, as cifar10=folder:PATH")
        find(new)
        return cls(single, lists, (own_name(old), own_name(new)), sorted([*words, f"{own_name(old)}={own_name(new)}"]))

    @property
    def suffix(self) -> str:
        """The end of the assignment folder's name: the changes; with a hash where characters were replaced or left out."""
        plain = "-".join(self.words)
        safe = re.sub(r"[^A-Za-z0-9._+=-]+", "_", plain)[:LONGEST]
        digest = hashlib.blake2b(plain.encode(), digest_size=4).hexdigest()
        return f"-{safe}{'' if safe == plain else f'-{digest}'}" if self.words else ""

    @property
    def overrides(self) -> list[Asked]:
        """The overrides that the command sets."""
        overrides = self.given.get("for", ())
        return [_replaced(asked, *self.datasets) for asked in overrides] if self.datasets else list(overrides)

    def check(self, parts: Sequence[Part], word: str) -> None:
        """Refuse a dataset that no part has; `word` names the preset."""
        there = list(dict.fromkeys(map(dataset_of, parts)))
        if self.datasets and self.datasets[0] not in there:
            old, new = self.datasets
            raise Refused(f"--dataset {old}={new}: {word} has no {old}; {did_you_mean(old, there)}it has {', '.join(there)}")

    def applied_to(self, part: Part) -> Part:
        """Return a part with the changes.

        Raises:
            Refused: the part's overrides say the same option for a method.
        """
        given, lists = dict(part.given), dict(part.lists)
        for name in (*self.given, *self.lists):
            for rival in SAME_THING if name in SAME_THING else (name,):
                lists.pop(rival, None)
                given.pop(rival, None) if rival != "for" else None
        kept = [o for o in part.given.get("for", ()) if o[:2] not in {own[:2] for own in self.overrides}]
        for asked in kept:
            if asked[1] in self.given:
                name = flag_of(asked[1])[2:]
                raise Refused(f"--set {name}: part {part.name} has {written(*asked)}, which would stay: give --set "
                              f"for={written(asked[0], asked[1], 'VALUE')} too")  # fmt: skip
        given |= self.given
        lists |= self.lists
        overrides = [*kept, *self.overrides]
        if self.datasets:
            if dataset_of(part) == self.datasets[0]:
                given["dataset"] = self.datasets[1]
            overrides = [_replaced(asked, *self.datasets) for asked in overrides]
        if overrides:
            given["for"] = overrides
        return replace(part, given=given, lists=lists)


def dataset_of(part: Part) -> str:
    """Return the dataset of a part."""
    return own_name(part.given.get("dataset", defaults(EXPERIMENT)["dataset"]))


def _replaced(asked: Asked, old: str, new: str) -> Asked:
    """Replace the dataset in the condition of an override."""
    pruner, conditions = read_target(asked[0])
    if own_name(conditions.get("dataset", "")) == old:
        conditions["dataset"] = new
    return target(pruner, conditions), asked[1], asked[2]
