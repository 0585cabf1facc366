"""The file `grid.csv` with its checksum beside it: one process at a time writes it, and readers refuse a damaged one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from Utils.base.csv_files import read_csv, write_csv
from Utils.base.files import sha256
from Utils.base.text import one_line
from Utils.runs.manifest import OwnFiles
from Utils.runs.run_files import alone_in
from Utils.runs.summary_keys import flat

NAME, SUMS = "grid.csv", "grid.csv.sha256"


def save_table(folder: Path, frame: pd.DataFrame) -> None:
    """Write `grid.csv`, and `grid.csv.sha256`, which `sha256sum --check` reads."""
    with alone_in(folder, -1) as own:
        _write(own, lambda file: write_csv(frame, file))


def _write(own: OwnFiles, write: Callable[[Path], None]) -> None:
    digest = own.write_file(NAME, write)
    own.write_file(SUMS, lambda file: file.write_text(f"{digest}  {NAME}\n", encoding="ascii"))


def read_grid(path: Path) -> pd.DataFrame:
    """Read the table as text.

    Raises:
        ValueError: it has changed since it was written.
    """
    sums = path.with_name(SUMS)
    if sums.is_file() and sums.read_text(encoding="ascii", errors="replace").split()[:1] != [sha256(path)]:
        raise ValueError(f"it, or {sums.name}, is not what was written")
    return read_csv(path, dtype=str, keep_default_na=False)


def update_cell(folder: Path, key: str, content: Mapping[str, Any]) -> None:
    """Put the numbers of `content` into the columns `key_...` of the row of the cell in `folder`.

    Without a `grid.csv` that has such a row, it does nothing. The rest of the file stays the same, letter for letter.
    """
    path = folder.resolve().parent / NAME
    if not path.is_file() or NAME not in OwnFiles(path.parent).names:
        return
    with alone_in(path.parent, -1) as own:
        _update(own, folder.resolve().name, key, content)


def _update(own: OwnFiles, cell: str, key: str, content: Mapping[str, Any]) -> None:
    path = own.folder / NAME
    try:
        frame = read_grid(path)
    except (OSError, ValueError) as error:
        return print(f"NOTE: {path} cannot be read ({one_line(str(error))}); the grid's own command writes it again")
    rows = frame.index[frame["cell"] == cell] if "cell" in frame else []
    if not len(rows):
        return
    numbers = flat(key, content)
    for name in [c for c in frame if c.startswith(f"{key}_") and c not in numbers]:
        frame.loc[rows, name] = ""
    for name, value in numbers.items():
        if name not in frame:
            frame.insert(frame.shape[1] - (frame.columns[-1] == "reason"), name, "")
        frame.loc[rows, name] = "" if value is None else str(value)
    _write(own, lambda file: frame.to_csv(file, index=False))  # `write_csv` has made its texts inert already
