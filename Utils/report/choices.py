"""What a report shows of layers and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Choices:
    """What is shown of layers and weights: one compression, some layers alone, the bins of histograms.

    An assignment's `[report]` table has the same names, with dashes.
    """

    layer_compression: float | None = None
    histogram_layers: Sequence[str] = ()
    bins: int = 60
    log_counts: bool = False

    def updated(self, table: dict[str, Any]) -> Choices:
        """These, where they were given, before those of an assignment."""
        compression = table.get("layer-compression") if self.layer_compression is None else self.layer_compression
        return Choices(compression, self.histogram_layers or table.get("histogram-layers", ()), self.bins, self.log_counts)
