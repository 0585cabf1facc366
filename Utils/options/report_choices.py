"""The choice of the layers and weights that a report shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from Utils.base.errors import Refused
from Utils.base.text import pick_from

TABLE = {"layer-compression": (int, float), "histogram-layers": list}  # keys of `[report]`
LARGEST = 30  # the bound of a compression, which is that of `--layer-compression`


@dataclass(frozen=True)
class Choices:
    """The layers and weights that a report shows.

    Attributes:
        layer_compression: the compression whose layers are shown; None for the middle one.
        histogram_layers: the layers whose histograms are drawn alone.
        bins: the number of bins of a histogram.
        log_counts: whether counts are on a logarithmic scale.
    """

    layer_compression: float | None = None
    histogram_layers: Sequence[str] = ()
    bins: int = 60
    log_counts: bool = False

    def beside(self, table: Mapping[str, Any]) -> Choices:
        """Fill these choices up with those of an assignment's `table`."""
        compression = table.get("layer-compression") if self.layer_compression is None else self.layer_compression
        return Choices(compression, self.histogram_layers or table.get("histogram-layers", ()), self.bins, self.log_counts)


def check(table: Mapping[str, Any]) -> None:
    """Refuse a `[report]` table of an assignment with an unknown key or an unfit value.

    Raises:
        Refused: the message names the key, the value and the choices.
    """
    for name, value in table.items():
        if name not in TABLE:
            raise Refused(f"[report] {name}: {pick_from(name, TABLE)}")
        if isinstance(value, bool) or not isinstance(value, TABLE[name]) or not _fits(value):
            wanted = "a list of names of layers" if TABLE[name] is list else f"a finite number from 0 to {LARGEST}"
            raise Refused(f"[report] {name} = {value!r}: {wanted} is expected")


def _fits(value: Any) -> bool:
    return all(isinstance(word, str) for word in value) if isinstance(value, list) else 0 <= value <= LARGEST
