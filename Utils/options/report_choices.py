"""The choice of the layers and weights that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from Utils.base.errors import Refused
from Utils.base.text import pick_from

# The keys of `[report]`.
TABLE = {"layer-compression": (int, float), "histogram-layers": list, "layer-methods": list, "layout": str, "tasks": list}
GENERAL, ASSIGNMENT = LAYOUTS = ("general", "assignment")
TASKS = ("tuning", "trace", "block", "layers", "amp", "explain")  # of a course's assignment; each is a section of its report
USUAL_TASKS = ("tuning", "trace", "block", "amp", "explain")
WANTED = {"histogram-layers": "a list of names of layers", "layer-methods": "a list of names of methods", "layout": "a text",
          "tasks": "a list of names of tasks"}  # fmt: skip
ALL = "all"  # methods: every one
USUAL = "snip"  # the method whose layers are shown where none is named
LARGEST = 30  # the bound of a compression, which is that of `--layer-compression`


@dataclass(frozen=True)
class Choices:
    """The layers and weights that a report shows.

    Attributes:
        layer_compression: the compression whose layers are shown; None for the middle one.
        histogram_layers: the layers whose histograms are drawn alone.
        bins: the number of bins of a histogram.
        log_counts: whether counts are on a logarithmic scale.
        layout: one of `LAYOUTS`; None for the usual one.
        tasks: those of `TASKS` that an assignment has, in its order.
        layer_methods: the methods whose layers and weights are shown; none for SNIP, or else the first of a table.
    """

    layer_compression: float | None = None
    histogram_layers: Sequence[str] = ()
    bins: int = 60
    log_counts: bool = False
    layout: str | None = None
    tasks: Sequence[str] = USUAL_TASKS
    layer_methods: Sequence[str] = ()

    @property
    def everything(self) -> bool:
        """Whether the layers and weights of all methods are shown, and every trace."""
        return ALL in self.layer_methods

    def methods(self, present: Sequence[str]) -> list[str]:
        """Choose from the methods of a table those whose layers and weights are shown: one at least."""
        if self.everything:
            return list(present)
        asked = [method for method in present if method in self.layer_methods]
        return asked or [method for method in present if method == USUAL] or list(present[:1])

    def beside(self, table: Mapping[str, Any]) -> Choices:
        """Fill these choices up with those of an assignment's `table`."""
        compression = table.get("layer-compression") if self.layer_compression is None else self.layer_compression
        layers, methods = table.get("histogram-layers", ()), table.get("layer-methods", ())
        layout, tasks = self.layout or table.get("layout", GENERAL), table.get("tasks", self.tasks)
        return replace(self, layer_compression=compression, histogram_layers=self.histogram_layers or layers, layout=layout,
                       tasks=tasks, layer_methods=self.layer_methods or methods)  # fmt: skip


def check(table: Mapping[str, Any]) -> None:
    """Refuse a `[report]` table of an assignment with an unknown key or an unfit value.

    Raises:
        Refused: the message names the key, the value and the choices.
    """
    for name, value in table.items():
        if name not in TABLE:
            raise Refused(f"[report] {name}: {pick_from(name, TABLE)}")
        if isinstance(value, bool) or not isinstance(value, TABLE[name]) or not _fits(value):
            wanted = WANTED.get(name, f"a finite number from 0 to {LARGEST}")
            raise Refused(f"[report] {name} = {value!r}: {wanted} is expected")
        for word in value if name == "tasks" else [value] if name == "layout" else ():
            choices = TASKS if name == "tasks" else LAYOUTS
            if word not in choices:
                raise Refused(f"[report] {name}: {word}: {pick_from(word, choices)}")
        if name == "tasks" and (not value or len(set(value)) < len(value)):
            raise Refused(f"[report] tasks = {value!r}: a list of different tasks is expected: {', '.join(TASKS)}")


def _fits(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(word, str) for word in value)
    return isinstance(value, str) or 0 <= value <= LARGEST
