"""Later measurements of a saved run: the files that an experiment adds to its folder, and the numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.json_files import read_json
from Utils.base.text import one_line
from Utils.options.experiments import EXPERIMENTS
from Utils.runs.manifest import OwnFiles
from Utils.runs.run_files import alone_in
from Utils.runs.validate import check_result
from Utils.runs.writer import Sums, Writer

PAIRS = "precision_pairs"  # mixed beside full precision, in `time.json` and in the summary
COMPARED = ("dense", "masked", "compact")  # networks in `compact.json`


class Annex(Writer):
    """The files that one experiment adds to the folder of a saved run.

    The last one, `NAME.json`, has the checksums of the others. All other files of the folder stay unchanged, so that it remains a
    finished run. As a context it holds the folder's lock.

    Attributes:
        folder: the folder of the run.

    Raises:
        Refused: a file that this program did not write has the name of one of the files; no file was written.
        RunFailed: another process is working in the folder, or a file cannot be written.
    """

    def __init__(self, folder: Path, experiment: str, more: Iterable[str] = ()) -> None:
        """Check that no foreign file has the name of one of the experiment's files, or of `more` that this command writes."""
        self.folder = folder
        self._name = experiment
        self._sums: Sums = {}
        self._locked = ExitStack()
        OwnFiles(folder).check({*EXPERIMENTS[experiment].writes, *more})

    def __enter__(self) -> Annex:
        self._own = self._locked.enter_context(alone_in(self.folder))
        return self

    def __exit__(self, *error: object) -> None:
        self._locked.close()

    def write_file(self, name: str, write: Callable[[Path], Any]) -> str:
        """Make the file `name` by `write`, and note its checksum.

        Before the first one, the `NAME.json` of an earlier measurement is removed, whose numbers are those of other files.
        """
        if not self._sums:
            self._own.remove([f"{self._name}.json"])
        self._sums[name] = self._own.write_file(name, write)
        return self._sums[name]

    def finish(self, content: Mapping[str, Any]) -> None:
        """Write `content` as `NAME.json`, with the checksums of the files written before it as `files`."""
        self._own.write_json(f"{self._name}.json", {**content, **({"files": self._sums} if self._sums else {})})


def later_numbers(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Read the numbers that join those of a run's summary, or replace them: times, and the networks in `COMPARED`.

    Returns:
        The numbers, and a note for each damaged file, whose numbers are left out.
    """
    numbers: dict[str, Any] = {}
    notes = []
    for name, read, instead in (
        ("time.json", _times, "the times of the run itself count"),
        ("compact.json", _networks, "--experiment compact writes it again"),
    ):
        file = folder / name
        try:
            numbers |= read(file) if file.exists() else {}
        except Refused as error:
            notes.append(f"NOTE: {one_line(str(error))}; {instead}")
    return numbers, notes


def _times(file: Path) -> dict[str, Any]:
    times = read_json(file)
    if "total_seconds" not in times:
        raise Refused(f"{file}: no inference times")
    pairs = times.pop(PAIRS, None)
    found = {"inference": times} | ({PAIRS: pairs} if pairs else {})
    check_result(found, str(file))
    return found


def _networks(file: Path) -> dict[str, Any]:
    networks = read_json(file).get("networks")
    if not isinstance(networks, dict):
        raise Refused(f"{file}: no networks")
    found = {name: networks[name] for name in COMPARED if isinstance(networks.get(name), dict)}
    check_result(found, str(file))
    return found
