"""The expansion of lists into cells: all combinations, their names and options, and the dense baseline.

torch is not imported.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from Pruners import DENSE
from Utils.base.errors import Refused
from Utils.base.text import flag_of
from Utils.options.experiments import DEFAULT, EXPERIMENTS
from Utils.options.groups.grid_options import ABLATIONS
from Utils.options.overrides import Asked, Overrides, recorded
from Utils.options.resolve import SAME_THING, identity, resolve, weight_decay, without_late
from Utils.options.table import defaults, table
from Utils.options.types import Cell, Grid, Options

BUDGET = (*SAME_THING, "prune_epochs")  # options that an unpruned network does not need


def expand(given: Mapping[str, Any], lists: Mapping[str, Sequence[Any]], unused: dict[Asked, str] | None = None) -> Grid:
    """Make the grid of all combinations of the lists, the dense baseline first.

    Args:
        given: single options that were given, by name.
        lists: option that varies -> the values given for it.
        unused: takes the overrides that no cell is for, with their refusals; None refuses them.

    Raises:
        Refused: a list contradicts another flag or names a value twice, or a cell's options contradict each other.
    """
    experiment = given.get("experiment", DEFAULT)
    shared = {k: v for k, v in given.items() if k != "for"}
    _check_lists(shared, lists)
    pruners = [*lists.get("pruner", [given.get("pruner", defaults(experiment).get("pruner", ""))])]
    trains = "dense" in EXPERIMENTS[experiment].reads
    overrides = Overrides.read(given, [*pruners, DENSE] if trains else pruners, _varied(lists))
    axes = [o.axis for o in table() if o.axis in lists]
    cells: dict[str, Cell] = {}
    combinations = _combinations(axes, lists, trains)
    if trains and pruners == [DENSE]:
        combinations = (values for values in combinations if values.get("pruner") == DENSE)
    for values in combinations:
        cell = _cell(shared, values, overrides)
        if cells.setdefault(cell.name, cell).values != cell.values:
            raise Refused(f"cell {cell.name}: two values of a list are too close to tell apart")
    if unused is None:
        overrides.check_used()
    else:
        unused |= overrides.left()
    name = given.get("expid") or _grid_name(experiment, shared, lists, cells.values())
    named = [replace(cell, options=replace(cell.options, expid=f"{name}/{cell.name}")) for cell in cells.values()]
    asked = {o.name: list(lists[o.axis]) for o in table() if o.axis in lists}
    own = {"for": recorded(given.get("for", ())), "expid": name}
    return Grid.of(_shared(experiment, shared, lists) | asked | own, named)


def _shared(experiment: str, given: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the options that the cells share, as `args.json` keeps them."""
    common = {k: v for k, v in (defaults(experiment) | given).items() if k not in lists and k not in (*BUDGET, "level")}
    if "lr_drops" in common:
        common["lr_drops"] = sorted(common["lr_drops"])
    if "weight_decay" in common:
        common["weight_decay"] = weight_decay(common.get("optimizer", ""), given, common["weight_decay"])
    return {k: v for k, v in given.items() if k in BUDGET} | common


def overridden(given: Mapping[str, Any]) -> dict[str, Any]:
    """Apply `--for` to the options `given` for a single run, where it names the run's pruner."""
    pruner = given.get("pruner", "rand")
    single = {k: v for k, v in given.items() if k != "for"}
    overrides = Overrides.read(given, [pruner], {})
    result = single | overrides.of(single, {"ablate": "none"})
    overrides.check_used()
    return result


def _check_lists(shared: Mapping[str, Any], lists: Mapping[str, Sequence[Any]]) -> None:
    flags = _flags()
    for axis, values in lists.items():
        twice = next((v for i, v in enumerate(values) if v in values[:i]), None)
        if twice is not None:
            raise Refused(f"{flags[axis]} names {twice} twice")
        rivals = _rivals(axis)
        rival = next((flag_of(r) for r in rivals if r in shared), None)
        rival = rival or next((flags[r] for r in rivals if r in lists and r != axis), None)
        if rival:
            raise Refused(f"{flags[axis]} and {rival} exclude each other: give one of them")


def _flags() -> dict[str, str]:
    """Map each option that a list can vary to the list's flag."""
    return {o.axis: o.flag for o in table() if o.axis}


def _rivals(axis: str) -> tuple[str, ...]:
    """Return the options that mean the same as a list of `axis`."""
    if axis == "ablate":
        return tuple(option for option in ABLATIONS.values() if option)
    return SAME_THING if axis in SAME_THING else (axis,)


def _varied(lists: Mapping[str, Any]) -> dict[str, str]:
    """Map each option that a list varies or rules out to the list's flag."""
    return {name: flag for axis, flag in _flags().items() if axis in lists for name in _rivals(axis)}


def _combinations(axes: Sequence[str], lists: Mapping[str, Sequence[Any]], trains: bool) -> Iterator[dict[str, Any]]:
    """Yield the values of each cell, by axis in the order of the flags; if the experiment trains, dense cells come first."""
    order = [o.axis for o in table() if o.axis in axes or (trains and o.axis == "pruner")]
    if trains:
        kept = [a for a in order if a in ("model", "pruner", "seed")]
        for combination in itertools.product(*([DENSE] if a == "pruner" else lists[a] for a in kept)):
            yield dict(zip(kept, combination, strict=True))
    for combination in itertools.product(*(lists[a] for a in axes)):
        values = dict(zip(axes, combination, strict=True))
        if values.get("pruner") == DENSE:
            values = {a: v for a, v in values.items() if a in ("model", "pruner", "seed")}
        yield values


def _cell(shared: Mapping[str, Any], values: Mapping[str, Any], overrides: Overrides) -> Cell:
    pruner = values.get("pruner", shared.get("pruner", "rand"))
    given = dict(shared)
    if pruner == DENSE:
        given = {k: v for k, v in shared.items() if k not in (*BUDGET, *ABLATIONS.values())}
    given |= {axis: value for axis, value in values.items() if axis != "ablate"}
    given |= overrides.of(given, {"ablate": values.get("ablate", "none")})
    if turned_on := ABLATIONS[values.get("ablate", "none")]:
        given[turned_on] = True
    name = _cell_name(values)
    try:
        return Cell(name, values, resolve(given))
    except Refused as error:
        raise Refused(f"cell {name}: {error}") from error


def _cell_name(values: Mapping[str, Any]) -> str:
    """Name a cell: `pruner=snip,compression=0.5,seed=2`.

    Characters that a folder name cannot hold are replaced; a hash then keeps the names distinct.
    """
    words = [f"{axis}={value:.12g}" if isinstance(value, float) else f"{axis}={value}" for axis, value in values.items()]
    plain = ",".join(words)
    safe = ",".join(re.sub(r"[^A-Za-z0-9._+=-]+", "_", word)[-60:] for word in words)
    return safe if safe == plain else f"{safe},{_digest(plain)}"


def _grid_name(
    experiment: str, shared: Mapping[str, Any], lists: Mapping[str, Sequence[Any]], cells: Sequence[Cell]
) -> str:
    first = next(iter(cells)).options
    told = first.record() if first.regrow_start else shared  # a saved run determines its network
    models = "models" if "model" in lists else told.get("model", "fc")
    words = ("grid", models, told.get("dataset", "mnist"), _digest([_named(cell.options) for cell in cells]))
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", str(word))[-60:] for word in words)


def _named(options: Options) -> dict[str, Any]:
    """Return the options that a grid's name is made of; they included `deterministic` from the beginning."""
    return without_late(identity(options, images=False), always=("deterministic",))


def _digest(content: Any) -> str:
    content = sorted(content, key=json.dumps) if isinstance(content, list) else content
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=4).hexdigest()
