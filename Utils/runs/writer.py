"""Writing files of the usual kinds through one function that writes any file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Utils.base.json_files import checked_text
from Utils.base.tensor_files import on_cpu, save_state

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

KINDS = ("png", "pdf")  # formats that every figure is saved in
Sums = dict[str, str | None]  # SHA-256 by the name of a file


class Writer:
    """A writer of files of the usual kinds, through one method that writes any file."""

    def write_file(self, name: str, write: Callable[[Path], Any]) -> str | None:
        """Make the file `name` by `write`, under a temporary name until it is whole; return its SHA-256."""
        raise NotImplementedError

    def write_json(self, name: str, content: Mapping[str, Any]) -> str | None:
        """Write `content` as JSON with a checksum of its own; numbers that are not finite become null."""
        return self.write_file(name, lambda file: file.write_text(checked_text(content), encoding="utf-8"))

    def write_table(self, name: str, table: pd.DataFrame) -> str | None:
        """Write a CSV file with a header."""
        from Utils.base.csv_files import write_csv

        return self.write_file(name, lambda file: write_csv(table, file))

    def write_figure(self, stem: str, figure: Figure, kinds: Iterable[str] = KINDS) -> Sums:
        """Write a figure in each of the formats `kinds`, and return the SHA-256 of each file.

        The same figure gives the same bytes.
        """
        from Utils.figures.style import draw

        names = {f"{stem}.{kind}": kind for kind in kinds}
        return {name: self.write_file(name, lambda file, kind=kind: draw(figure, file, kind)) for name, kind in names.items()}

    def write_state(self, name: str, state: dict[str, Any] | None) -> None:
        """Write a `state_dict`, tensors on the CPU, for `torch.load(..., weights_only=True)`; None writes no file."""
        if state is not None:
            self.write_file(name, lambda file: save_state(on_cpu(state), file))
