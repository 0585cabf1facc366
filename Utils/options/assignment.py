"""An assignment as one grid: each part of a preset is expanded as a grid of its own, and their cells are joined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from Pruners import DENSE
from Utils.base.errors import Refused
from Utils.options.grid import expand
from Utils.options.presets import EXPERIMENT, Part, Preset, names, read_preset
from Utils.options.resolve import identity, resolve
from Utils.options.table import defaults, incidental
from Utils.options.types import Assignment, Cell, Grid

# The keys of the grid's `args.json` that describe its report; `preset` is the preset's name, `report` its table.
OF_REPORT = ("preset", "title", "description", "report", "scale")
EPOCHS = ("pre_epochs", "post_epochs", "lr_drops")  # the options that `--scale` multiplies


def plan(given: Mapping[str, Any]) -> Assignment:
    """Make the grid of `--experiment assignment`.

    Besides the options that were given, its `args.json` keeps the keys `OF_REPORT` and `parts`.

    Raises:
        Refused: there is no such preset, or it is not valid; the line names the file, the part and the flag.
    """
    options = resolve(given)
    if not options.preset:
        raise Refused(f"--experiment assignment needs --preset: {', '.join(names())}, or a file of your own, FILE.toml")
    preset = read_preset(options.preset)
    name = options.expid or _name(preset, options.scale)
    shared = {k: v for k, v in given.items() if k in incidental()} | {"expid": name}
    parts: dict[str, dict[str, Any]] = {}
    cells: list[Cell] = []
    for part in preset.parts:
        try:
            grid = _grid(part, shared, given.get("seed_list"), options.scale)
        except Refused as error:
            raise Refused(f"{preset.word}, part {part.name}: {error}") from error
        own = [_cell(part.name, cell, name) for cell in grid.cells if _wanted(part, cell)]
        if not own:
            raise Refused(f"{preset.word}, part {part.name}: dense = false leaves no cell")
        cells += own
        parts[part.name] = identity(grid)
    facts = (preset.name, preset.title, preset.description, preset.report, options.scale)
    recorded = options.record() | dict(zip(OF_REPORT, facts, strict=True)) | {"expid": name, "parts": parts}
    return Assignment.of(recorded, cells, parts=parts)


def _name(preset: Preset, scale: float) -> str:
    """Name the folder, without a hash of the options: a preset that has grown continues in the existing folder."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", preset.name)[-60:]
    return name if scale == 1 else f"{name}-scale-{scale:g}"


def _grid(part: Part, shared: Mapping[str, Any], seeds: list[int] | None, scale: float) -> Grid:
    given, lists = scaled(part.given, scale) | shared, dict(part.lists)
    if seeds:
        given.pop("seed", None)
        lists["seed"] = seeds
    return expand(given, lists)


def _wanted(part: Part, cell: Cell) -> bool:
    """Tell whether a cell belongs to a part.

    A part with `dense = false` leaves out the dense network, unless its `pruner-list` names it.
    """
    return part.dense or cell.values.get("pruner") != DENSE or DENSE in part.lists.get("pruner", ())


def _cell(part: str, cell: Cell, grid: str) -> Cell:
    name = ",".join(filter(None, (f"part={part}", cell.name)))
    options = replace(cell.options, expid=f"{grid}/{name}", place="assignment")
    return Cell(name, {"part": part} | dict(cell.values), options)


def scaled(given: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Multiply all epochs of `given` by `factor`, those of `for` included; a number above 0 stays at least 1."""

    def times(epochs: int) -> int:
        return max(1, round(epochs * factor)) if epochs else 0

    own = defaults(EXPERIMENT)
    result = dict(given) | {"scale": factor}
    for name in EPOCHS:
        epochs = given.get(name, own[name])
        result[name] = [times(e) for e in epochs] if name == "lr_drops" else times(epochs)
    if "for" in given:  # a word that is no number is refused later, in its original spelling
        result["for"] = [
            (pruner, name, ",".join(str(times(int(word))) if word.isdecimal() else word for word in text.split(",")))
            if name in EPOCHS
            else (pruner, name, text)
            for pruner, name, text in given["for"]
        ]
    return result
