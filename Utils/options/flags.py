"""The parser class of the command line and the types of its values.

Prefixes of flags keep their meaning, booleans accept True and False, and an error is one line.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from Utils.base.text import is_numeral, one_line, pick_from
from Utils.options.other_tools import counterpart, no_flag

# Every flag of Synaptic-Flow. A prefix that selected one of them there selects the same one here, whatever flags are added.
ANCESTOR_FLAGS = (
    "--help", "--dataset", "--model", "--model-class", "--dense-classifier", "--pretrained",
    "--optimizer", "--train-batch-size", "--test-batch-size", "--pre-epochs", "--post-epochs", "--lr",
    "--lr-drops", "--lr-drop-rate", "--weight-decay", "--pruner", "--compression", "--prune-epochs",
    "--compression-schedule", "--mask-scope", "--prune-dataset-ratio", "--prune-batch-size", "--prune-bias", "--prune-batchnorm",
    "--prune-residual", "--prune-train-mode", "--reinitialize", "--shuffle", "--invert", "--pruner-list",
    "--prune-epoch-list", "--compression-list", "--level-list", "--experiment", "--expid", "--result-dir",
    "--gpu", "--workers", "--no-cuda", "--seed", "--verbose",
)  # fmt: skip
NEWER_FLAGS = ("--stack",)  # abbreviations that they would make ambiguous keep their meaning


NAME_BYTES, PATH_BYTES = 255, 4000  # the limits of file systems; names of a run's files are added to a path
TRUTH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line on standard error and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """Print `message` on one line and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {one_line(message)}\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None) -> argparse.Namespace:
        """Write prefixes out and parse `args`; a word that is neither a flag nor the value of one is an error."""
        words = self.expand(sys.argv[1:] if args is None else args)
        found, left = super().parse_known_args(words, namespace)
        if unknown := dict.fromkeys(word.partition("=")[0] for word in left if word.startswith("-")):
            self.error("; ".join(no_flag(flag, self._option_string_actions) for flag in unknown))
        if left:
            self.error(self._stray(left[0], words, getattr(found, "experiment", None)))
        return found

    def _stray(self, word: str, words: Sequence[str], experiment: str | None) -> str:
        """Return the refusal of a word that belongs to no flag, with the list that takes it beside the value before it."""
        from Utils.options.table import list_form  # late, as the table is made of groups that import this module

        given: dict[str, list[str]] = {}
        flag = ""
        for each in words:
            if each.startswith("--"):
                flag, equals, value = each.partition("=")
                given[flag] = [value] if equals else []
            elif flag:
                given[flag].append(each)
        for flag, values in given.items():
            if word in values and len(values) > 1 and (several := list_form(flag, experiment)):
                return f"{flag} takes one value: {several} {' '.join(values)} makes a run of each"
        return f"unrecognized word {word!r}: it follows no flag that takes it"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value!r}: {_pick_from(str(value), action.choices)}")

    def expand(self, args: Sequence[str]) -> list[str]:
        """Write abbreviated flags out, and tie a value that begins with a minus sign (`--lr -1e-3`) to its flag."""
        words: list[str] = []
        for word in args:
            if word.startswith("--") and len(word) > 2:
                name, equals, value = word.partition("=")
                words.append(self._full_name(name) + equals + value)
            elif word.startswith("-") and words and words[-1].startswith("--") and "=" not in words[-1] and is_numeral(word):
                words[-1] += "=" + word
            else:
                words.append(word)
        return words

    def _full_name(self, name: str) -> str:
        if name in self._option_string_actions:
            return name
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        for known in (ANCESTOR_FLAGS, [flag for flag in flags if flag not in NEWER_FLAGS], flags):
            matches = sorted({flag for flag in known if flag.startswith(name)})
            if len(matches) == 1:
                return matches[0]
            if matches:
                self.error(f"ambiguous flag {name}: could be {', '.join(matches)}")
        return name


def _pick_from(word: str, choices: Iterable[str]) -> str:
    """Return the end of an error as `pick_from` does; a method's name in another tool has its counterpart."""
    same = counterpart(word, choices)
    return f"did you mean {same}? choose from {', '.join(choices)}" if same else pick_from(word, choices)


class Switch(argparse.Action):
    """A boolean: `--flag`, `--flag True`, `--flag False`, `--no-flag`. A flag named `--no-x` has `--x` as its opposite."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: object) -> None:
        flag = option_strings[0]
        self.opposite = "--" + flag[5:] if flag.startswith("--no-") else "--no-" + flag[2:]
        super().__init__([flag, self.opposite], dest, nargs="?", metavar="True|False", **kwargs)

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        """Store the truth value; refuse other words."""
        value = True if values is None else TRUTH.get(str(values).lower())
        if value is None or (values is not None and option_string.startswith("--no-") and option_string == self.opposite):
            parser.error(f"{option_string} {values!r}: write {self.option_strings[0]} [True|False] or {self.opposite}")
        setattr(namespace, self.dest, value != (option_string == self.opposite))


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None, below: float | None = None
) -> Callable[[str], float]:
    """Make a parser of finite numbers within bounds: low <= x <= high, above < x < below."""
    return _bounded(float, "a finite number", low, high, above, below)


def integer(low: int | None = None, high: int | None = None) -> Callable[[str], int]:
    """Make a parser of whole numbers within bounds, low <= x <= high."""
    return _bounded(int, "a whole number", low, high, None, None)


def name(text: str) -> str:
    """Parse a name, or a path, that a file system can hold, so that looking it up never fails with an error."""
    if not text.strip():
        raise argparse.ArgumentTypeError("'' is given, as by an unset variable of a shell: a name is expected")
    try:
        longest = max(len(part.encode()) for part in text.split("/"))
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not text in UTF-8") from None
    if "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r}: a name without NUL bytes is expected")
    if longest > NAME_BYTES or len(text.encode()) > PATH_BYTES:
        raise argparse.ArgumentTypeError(
            f"'{text[:40]}...': a name of up to {NAME_BYTES} bytes, a path of up to {PATH_BYTES} is expected"
        )
    return text


@dataclass(frozen=True)
class Pair:
    """The parser of pairs, which names `example` in its error: `account=vision` -> ("account", "vision")."""

    example: str

    def __call__(self, text: str) -> tuple[str, str]:
        """Parse one pair."""
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE, such as {self.example}")
        return name.removeprefix("--").replace("-", "_"), value


def _bounded(
    kind: type, noun: str, low: float | None, high: float | None, above: float | None, below: float | None
) -> Callable[[str], float]:
    bounds = ((low, "from"), (above, "above"), (high, "up to"), (below, "below"))
    wanted = " ".join([noun, *(f"{word} {value}" for value, word in bounds if value is not None)])

    def parse(text: str) -> float:
        try:
            value = kind(text)
            fits = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
        except (ValueError, OverflowError):
            fits = False
        if not (fits and (above is None or value > above) and (below is None or value < below)):
            raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
        return value

    return parse


COUNT, POSITIVE, LARGE = integer(0, 2**31 - 1), integer(1, 2**31 - 1), integer(0, 2**63 - 1)
COMPRESSION, DENSITY, SPARSITY = number(0, 30), number(above=0, high=1), number(0, below=1)
