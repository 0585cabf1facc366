"""The run folder, in which every file is complete. Other programs read it; docs/run-folder.md is its contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Utils.base.checksums import damaged
from Utils.base.errors import Refused, RunFailed
from Utils.base.files import check_writable, sha256
from Utils.base.json_files import read_json
from Utils.base.locks import Lock
from Utils.base.own_network import COPY, source_of
from Utils.base.tensor_files import seal, unseal
from Utils.compute import processes
from Utils.compute.device import device_of
from Utils.compute.environment import load_average
from Utils.compute.precision import Precision
from Utils.data import folder_hashes
from Utils.options.resolve import identity, with_rounds
from Utils.options.types import Options
from Utils.runs.made_on import made_on, note_other_precision, precision_begun, went_on
from Utils.runs.manifest import CHECKPOINT, OwnFiles, names_of
from Utils.runs.places import path_of, say_elsewhere
from Utils.runs.run_files import tidy
from Utils.runs.saved_options import check_same
from Utils.runs.writer import Writer
from Utils.training import tensorboard

SCHEMA = 1


class Busy(Refused):
    """Another process is working in the folder."""


class RunFolder(Writer):
    """A run's folder, for use in a `with` block. It is made when the first file is written; each file appears whole.

    Attributes:
        path: the folder.
        saves: whether this process writes files; of several that train one network, rank 0 does.
        finished: whether the folder holds this run, done, and will not be overwritten, nor `made_anew` each time.
        begun: whether `begin` was called, or the run was resumed.
        events: the log of `--tensorboard`; its files are not the run's own, so that they have no checksums.

    Raises:
        Refused: the folder holds a run with other options, cannot be written, or a file of the finished run is lost or changed.
        Busy: another process is working in it.
    """

    def __init__(self, options: Options, *, made_anew: bool = False) -> None:
        self.options, self._made_anew = with_rounds(options), made_anew
        self.path = path_of(options)
        self.saves = not options.no_save and processes.is_first()
        self.begun = False
        self._sums: dict[str, str] = {}
        self._growing: set[str] = set()  # tables that a resumed run writes again
        self._own: OwnFiles  # from `_claim` on: other processes may change the files before
        self._lock = Lock(self.path / ".lock")
        self._load = load_average()
        shown = self.saves and options.tensorboard
        self.events = tensorboard.EventLog(self.path, shown, lambda name: self._own.record([name]))
        self.finished = processes.decided(self._look)
        self._begun_in = processes.decided(lambda: precision_begun(self.path) if self.saves and not self._anew else None)
        self._precision: Precision | None = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.events.close()
        self._lock.leave()

    @property
    def expid(self) -> str:
        """The run's name, as `args.json` and `summary.json` have it."""
        return self.options.expid or self.path.name

    @property
    def _anew(self) -> bool:
        """Whether an earlier run in the folder does not count."""
        return self.options.overwrite or self._made_anew

    def precision_on(self, device: torch.device) -> Precision:
        """Choose the precision of the run, once: that in which it was begun, or else that of the options."""
        self._precision = self._precision or Precision.of(self.options, device, self._begun_in)
        return self._precision

    def _look(self) -> bool:
        """Tell whether the folder is finished; an existing unfinished one becomes this process's."""
        if not self.saves:
            return False
        if (self.path / "args.json").exists() and not self.options.overwrite and not self._is_spoilt():
            if note := check_same(self.path, self.options):
                print(note)
            if self._is_finished():
                tidy(self.path)
                note_other_precision(self.path, self.options)
                return True
        check_writable(self.path, "choose another --result-dir, or --no-save, which writes nothing")
        if self.path.exists():
            self._claim()
        try:
            return self._is_finished()  # another process may have finished it just now
        except Refused:
            self._lock.leave()
            raise

    def _is_spoilt(self) -> bool:
        """Tell whether the folder is `made_anew` each time and its `args.json` cannot be read."""
        try:
            return self._made_anew and not read_json(self.path / "args.json")
        except Refused:
            return True

    def _claim(self) -> None:
        if not self._lock.take(1):
            raise Busy(f"{self.path}: another process is working there")
        try:
            self._own = OwnFiles(self.path)
            self._own.sweep()
        except (Refused, OSError) as error:
            self._lock.leave()
            if isinstance(error, Refused):
                raise
            raise Refused(f"cannot clear {self.path}: {error.strerror or error}") from error

    def _is_finished(self) -> bool:
        path = self.path / "summary.json"
        if self._anew or not path.exists():
            return False
        summary = read_json(path)
        if summary.get("status") != "done":
            return False
        if file := damaged(self.path, summary if summary.get("files") else {"files": {"args.json": ""}}):
            raise Refused(f"{file} is missing or damaged: --overwrite runs it again, another --expid leaves it alone")
        return True

    def begin(self, device: torch.device, names: Iterable[str] = ()) -> None:
        """Write `args.json`, once, after removing the files of an earlier run.

        `names` are the files of this run besides those of its experiment (`Utils.options.experiments`).

        Raises:
            Refused: a link, a folder or another program's file has the name of one; all files were left in place.
        """
        if self.begun:
            return
        self.begun = True
        if self.saves:
            folders = [tensorboard.FOLDER] if self.events.active else []
            OwnFiles(self.path).check(names_of(self.options.record()) | set(names), folders)
            self._claim()
            self._own.remove()
            say_elsewhere(self.options)
        self.events.begin()
        content = self.options.record() | identity(self.options) | {"expid": self.expid}
        self.write_json("args.json", content | made_on(self.options, self.precision_on(device)))
        if self.saves:
            folder_hashes.keep(str(content.get("dataset")), self.options.result_dir)
        if source := source_of(self.options.model, self.options.model_class):
            self.write_file(COPY, lambda file: file.write_bytes(source.read_bytes()))

    def resume(self, *, goes_on: bool = True) -> dict[str, Any] | None:
        """Return the last checkpoint of this run, if all files that existed with it are unchanged; else None.

        The run then `goes_on` from it; False is for a caller that only notes the run's end.
        """
        return processes.decided(lambda: self._resume(goes_on))

    def _resume(self, goes_on: bool) -> dict[str, Any] | None:
        checkpoint = self.path / CHECKPOINT
        if not self.saves or self.options.overwrite or not checkpoint.exists() or CHECKPOINT not in self._own.names:
            return None
        state = unseal(checkpoint, "files")
        if file := checkpoint if state is None else self._spoilt(state):
            print(f"NOTE: {file} is missing or damaged: the run starts over")
            return None
        self.begun, self._sums = True, state["files"]
        self._sums["args.json"] = sha256(self.path / "args.json")
        if goes_on:
            now = made_on(self.options, self.precision_on(device_of(self.options)))
            if changed := went_on(read_json(self.path / "args.json"), now):
                self.write_json("args.json", changed)
        self._own.check((), [tensorboard.FOLDER] if self.events.active else [])
        self._own.remove(["summary.json"])  # the summary of a failure
        self.events.begin(goes_on=True)
        return state

    def _spoilt(self, state: dict[str, Any]) -> Path | None:
        """Find the first file that has changed since the checkpoint; `args.json`, which may grow, has a checksum of its own."""
        state["files"].pop("args.json", None)
        if file := damaged(self.path, state):
            return file
        try:
            read_json(self.path / "args.json")
        except Refused:
            return self.path / "args.json"
        return None

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        """Save `state` for `resume`, in place of the checkpoint before."""
        if self.saves:
            self._check_there()
            try:
                self._own.add([CHECKPOINT])
            except Refused as error:
                raise RunFailed(str(error)) from error
            seal(self.path / CHECKPOINT, state | {"files": {n: s for n, s in self._sums.items() if n not in self._growing}})

    def write_rows(self, name: str, rows: pd.DataFrame) -> None:
        """Write a table that the run writes again later; it may be ahead of the checkpoint, which holds no checksum of it."""
        self._growing.add(name)
        self.write_table(name, rows)

    def snapshot(self, model: torch.nn.Module) -> dict[str, torch.Tensor] | None:
        """Copy the model's present `state_dict` to the CPU; None if the run saves nothing."""
        return {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()} if self.saves else None

    def finish(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, the last file, with the checksums of all others. A failed run keeps its checkpoint.

        `load` is the machine's load average when the run was begun or resumed, and at its end.
        """
        if self.saves and summary["status"] == "done":
            self._check_there(*self._sums)
        summary = summary | {"load": {"start": self._load, "end": load_average()}}
        self.write_json("summary.json", summary | {"files": {n: s for n, s in self._sums.items() if n != "summary.json"}})
        if self.saves and summary["status"] == "done":
            self._own.remove([CHECKPOINT])

    def write_file(self, name: str, write: Callable[[Path], Any]) -> str | None:
        """Write a file by `OwnFiles`, and note its checksum for `summary.json`; None if the run saves nothing."""
        if not self.saves:
            return None
        if name != "args.json":
            self._check_there()
        self._sums[name] = self._own.write_file(name, write)
        return self._sums[name]

    def _check_there(self, *names: str) -> None:
        """Fail if the folder was deleted during the run: a folder made again would look like a whole run with half its files."""
        for name in ("args.json", *names):
            if not (self.path / name).is_file():
                raise RunFailed(f"{self.path / name} was removed while the run was going on: the same command starts it over")
