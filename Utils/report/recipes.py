"""The recipes of runs: differences within a table, and the separation of runs that are not samples of one setting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import Pruners
from Pruners import DENSE
from Utils.options.parts import Affects
from Utils.options.resolve import short_digest
from Utils.options.table import affecting, of_parts, table
from Utils.report.report_run import Run

# The options of an ablation, with their words in labels.
ABLATIONS = {"shuffle": "shuffled masks", "reinitialize": "weights drawn anew", "invert": "inverted scores"}
PRUNABLE = ("dense_classifier", *of_parts("prunable"))  # options that say which parameters pruning may remove
# Options that runs of one network share, dense ones included.
NETWORK = ("experiment", *(n for n in of_parts("model", "network", "dataset", "image") if n not in PRUNABLE), "quantization")
# Options that define a comparison; runs that differ in them are in separate tables.
SPLIT = (*NETWORK, *PRUNABLE, "mask_scope", *of_parts("compact"), "level", "rewind_epoch", "no_rewind", *ABLATIONS)
VARIED = ("pruner", "compression", "density", "sparsity", "seed")  # the options that vary within a table
WITHOUT_EFFECT_ON_ACCURACY = set(affecting(Affects.NAME)) - set(affecting(Affects.RESULT))
PRUNING = set(of_parts("prune", "updates", "levels"))  # options without effect on a dense network
Tell = Callable[[Run], str]


def recipe_names(runs: Iterable[Run]) -> list[str]:
    """Name the options that runs of one table should share; otherwise a reader compares recipes, not methods."""
    order = [o.name for o in table()]
    there = {name for run in runs for name in run.recipe} - {*SPLIT, *VARIED, *WITHOUT_EFFECT_ON_ACCURACY}
    return sorted(there, key=lambda name: (order.index(name) if name in order else len(order), name))


def value_of(run: Run, name: str) -> str:
    """Return the value of an option as text; rounds that are the method's own count as equal for all methods."""
    value = run[name]
    if name == "prune_epochs" and value in (None, rounds_of(str(run["pruner"]))):
        return "the method's own"
    return "1" if name == "scale" and value is None else text_of(value)


def differences(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each part of the recipe, the seeds included, that is not the same for all runs."""
    lines = []
    for name in (*recipe_names(runs), "seed"):
        concerned = [run for run in runs if not (run["pruner"] == DENSE and name in PRUNING)]
        values = _by_method(concerned, lambda run, name=name: value_of(run, name))
        if len(set(values.values())) > 1 or (name != "seed" and any(" and " in value for value in values.values())):
            lines.append(f"{'seeds' if name == 'seed' else name.replace('_', ' ')}: {_shared(values)}")
    return lines


def separate_settings(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Split runs into named parts if a cell occurs twice, made in two ways: means must not mix them.

    Grids are separated first, then recipes, then all other options, then the contents of files. Runs that are the same in all of
    these are never among `runs`.
    """
    ways = (lambda runs: _grid, _by_options_except(WITHOUT_EFFECT_ON_ACCURACY), _by_options_except(()), _by_contents)
    return _separate_settings(list(runs), "", ways)


def distance(one: Run, other: Run) -> int:
    """Count the parts of the training in which two runs differ."""
    return sum(value_of(one, name) != value_of(other, name) for name in recipe_names([one, other]) if name not in PRUNING)


def text_of(value: Any) -> str:
    """Write a value as a word of a caption."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def rounds_of(pruner: str) -> int | None:
    """Return the rounds that a method takes by default; None if the method no longer exists."""
    return Pruners.load(pruner).rounds if pruner in Pruners.names() else None


def _separate_settings(runs: list[Run], name: str, ways: Sequence[Callable[[list[Run]], Tell]]) -> list[tuple[str, list[Run]]]:
    cells = [(run["pruner"], run.compression, run["seed"]) for run in runs if run.done]
    if len(set(cells)) == len(cells) or not ways:
        return [(name, runs)]
    tell, parts = ways[0](runs), {}
    for run in runs:
        parts.setdefault(tell(run), []).append(run)
    words = {word: ", ".join(filter(None, (name, word if len(parts) > 1 else ""))) for word in parts}
    return [part for word, own in parts.items() for part in _separate_settings(own, words[word], ways[1:])]


def _grid(run: Run) -> str:
    return f"grid {run.grid}" if run.grid else "single runs"


def _by_options_except(left_out: Collection[str]) -> Callable[[list[Run]], Tell]:
    """Return a way to distinguish runs: by all options in which runs of one cell differ, except those in `left_out`.

    Options in which only methods differ separate no runs: SynFlow with two numbers of rounds leaves the other methods together.
    """

    def way(runs: list[Run]) -> Tell:
        names = [name for name in {n: None for run in runs for n in run.recipe} if name not in (*VARIED, *left_out)]
        cells: dict[object, list[Run]] = {}
        for run in (r for r in runs if r.done):
            cells.setdefault((run["pruner"], run.compression, run["seed"]), []).append(run)
        differing = [n for n in names if any(len({value_of(run, n) for run in cell}) > 1 for cell in cells.values())]
        return lambda run: ", ".join(f"{name.replace('_', ' ')} {value_of(run, name)}" for name in differing)

    return way


def _by_contents(runs: list[Run]) -> Tell:
    """Return a way to distinguish runs: by the contents of the files that differ."""
    files = dict.fromkeys(file for run in runs for file in run.contents)
    differing = [file for file in files if len({run.contents.get(file) for run in runs}) > 1]
    return lambda run: ", ".join(f"SHA-256 of {file} {short_digest(run.contents.get(file))}" for file in differing)


def _by_method(runs: Iterable[Run], value: Callable[[Run], str]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for run in (r for r in runs if r.done):
        found.setdefault(str(run["pruner"]), {})[value(run)] = None
    return {method: " and ".join(sorted(values)) for method, values in found.items()}


def _shared(values: dict[str, str]) -> str:
    """Join methods by value: {"snip": "1", "mag": "2", "rand": "1"} -> "1 for snip, rand; 2 for mag"."""
    names: dict[str, list[str]] = {}
    for method, value in values.items():
        names.setdefault(value, []).append(method)
    return "; ".join(f"{value} for {', '.join(methods)}" for value, methods in names.items())
