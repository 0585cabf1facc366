"""An assignment as one grid: each part of a preset is expanded as a grid of its own, and their cells are joined."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from Pruners import DENSE
from Utils.base.errors import Refused
from Utils.options.assignment_settings import Settings
from Utils.options.grid import expand
from Utils.options.overrides import Asked, recorded
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
    options = resolve({name: value for name, value in given.items() if name != "dataset"})
    if not options.preset:
        raise Refused(f"--experiment assignment needs --preset: {', '.join(names())}, or a file of your own, FILE.toml")
    preset = read_preset(options.preset)
    settings = Settings.read(given)
    settings.check(preset.parts, preset.word)
    name = options.expid or _name(preset, options.scale) + settings.suffix
    shared = {k: v for k, v in given.items() if k in incidental()} | {"expid": name}
    parts: dict[str, dict[str, Any]] = {}
    cells: list[Cell] = []
    overrides: list[tuple[Part, Grid, dict[Asked, str]]] = []
    for part in map(settings.applied_to, preset.parts):
        unused: dict[Asked, str] = {}
        try:
            grid = _grid(part, shared, given.get("seed_list"), options.scale, unused)
        except Refused as error:
            raise Refused(f"{preset.word}, part {part.name}: {error}") from error
        overrides.append((part, grid, unused))
        own = [_cell(part.name, cell, name) for cell in grid.cells if _wanted(part, cell)]
        if not own:
            raise Refused(f"{preset.word}, part {part.name}: dense = false leaves no cell")
        cells += own
        parts[part.name] = identity(grid)
    changed = settings.words or given.get("seed_list")
    _check_used(overrides, preset.word, [asked[:2] for asked in settings.overrides] if changed else None)
    facts = (preset.name, preset.title, preset.description, preset.report, options.scale)
    content = options.record() | dict(zip(OF_REPORT, facts, strict=True)) | {"expid": name, "parts": parts}
    return Assignment.of(content, cells, parts=parts)


def _name(preset: Preset, scale: float) -> str:
    """Name the folder, without a hash of the options: a preset that has grown continues in the existing folder."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", preset.name)[-60:]
    return name if scale == 1 else f"{name}-scale-{scale:g}"


def _grid(
    part: Part, shared: Mapping[str, Any], seeds: list[int] | None, scale: float, unused: dict[Asked, str]
) -> Grid:
    given, lists = scaled(part.given, scale) | shared, dict(part.lists)
    if seeds:
        given.pop("seed", None)
        lists["seed"] = seeds
    return expand(given, lists, unused)


def _check_used(
    overrides: Sequence[tuple[Part, Grid, Mapping[Asked, str]]], word: str, counting: Sequence[tuple[str, str]] | None
) -> None:
    """Refuse an override that no cell of any part is for.

    Args:
        overrides: each part with its grid, and with its overrides that no cell of it is for and their refusals.
        word: the preset.
        counting: the targets and options of the overrides that are checked; None for all. Those of a preset may lose their cells
            when a command changes it.
    """
    used: set[tuple[str, ...]] = set()
    for _, grid, unused in overrides:
        used |= {tuple(asked) for asked in grid.recorded["for"]} - {tuple(asked) for asked in recorded(unused)}
    for part, _, unused in overrides:
        for asked, reason in unused.items():
            if tuple(*recorded([asked])) not in used and (counting is None or asked[:2] in counting):
                raise Refused(f"{word}, part {part.name}: {reason}")


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
            (where, name, ",".join(str(times(int(word))) if word.isdecimal() else word for word in text.split(",")))
            if name in EPOCHS and text is not None
            else (where, name, text)
            for where, name, text in given["for"]
        ]
    return result
