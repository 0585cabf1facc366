"""The run folder: complete or not, never half a file. Other programs read it; see README for its contract."""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from Utils.errors import Refused, RunFailed
from Utils.options import identity

SCHEMA = 1
PROJECT = Path(__file__).resolve().parent.parent
FILES = (
    "args.json", "pre-train.csv", "post-train.csv", "compression.csv", "initial.pt", "dense.pt", "model.pt",
    "optimizer.pt", "scheduler.pt", "summary.json",
)  # fmt: skip


def run_name(options: argparse.Namespace) -> str:
    """The folder name of a run without `--expid`: its main options for people, and a hash of all of them."""
    chosen = identity(options)
    digest = hashlib.blake2b(json.dumps(chosen, sort_keys=True).encode(), digest_size=4).hexdigest()
    words = [options.pruner, options.model, options.dataset, f"c{options.compression:.4g}", f"s{options.seed}", digest]
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", str(word))[-60:] for word in words)


class RunFolder:
    """`RESULT_DIR/EXPERIMENT/EXPID/`. Made when the first file is written; each file appears whole or not at all.

    Raises:
        Refused: the folder holds a run with other options, or cannot be written.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.path = Path(options.result_dir, options.experiment, options.expid or run_name(options))
        self.saves = not options.no_save
        self._begun = False
        if not self.saves:
            return
        _check_writable(self.path)
        if (self.path / "args.json").exists() and not options.overwrite:
            self._check_same(read_json(self.path / "args.json"))

    @property
    def finished(self) -> bool:
        """Whether the folder holds this run, done, and it is not to be overwritten.

        Raises:
            Refused: a file of the finished run is missing or not what the run wrote; the message names it.
        """
        path = self.path / "summary.json"
        if not self.saves or self.options.overwrite or not path.exists():
            return False
        summary = read_json(path)
        if summary.get("status") != "done":
            return False
        for name, digest in (summary.get("files") or {"args.json": ""}).items():
            file = self.path / name
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
                raise Refused(f"{file} is missing or damaged: --overwrite runs it again, another --expid leaves it alone")
        return True

    def _check_same(self, saved: dict[str, Any]) -> None:
        asked = identity(self.options)
        missing = object()
        differing = [k for k in asked if saved.get(k, missing) != asked[k]]
        if differing:
            changes = ", ".join(f"{k} {saved.get(k)!r} there, {asked[k]!r} asked" for k in differing)
            raise Refused(f"{self.path} holds another run ({changes}): choose another --expid or --overwrite")

    def begin(self, device: torch.device) -> None:
        """Write `args.json`, once; what an earlier run left in the folder goes first."""
        if self._begun:
            return
        self._begun = True
        try:
            for name in FILES if self.saves else ():
                (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise Refused(f"cannot clear {self.path}: {error}") from error
        content = vars(self.options) | identity(self.options) | {"expid": self.path.name}
        self.write_json("args.json", content | environment(device))

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write `content` as JSON; numbers that are not finite become null."""
        with self._file(name) as temporary:
            if temporary:
                temporary.write_text(json.dumps(_plain(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Write a CSV file with a header."""
        with self._file(name) as temporary:
            if temporary:
                table.to_csv(temporary, index=False)

    def snapshot(self, model: torch.nn.Module) -> dict[str, torch.Tensor] | None:
        """A copy on the CPU of the model's `state_dict` as it is now; None when nothing is saved."""
        return {k: v.to("cpu", copy=True) for k, v in model.state_dict().items()} if self.saves else None

    def write_state(self, name: str, state: dict[str, Any] | None) -> None:
        """Write a `state_dict` that `torch.load(..., weights_only=True)` reads, tensors on the CPU; None writes nothing."""
        if state is None:
            return
        with self._file(name) as temporary:
            if temporary:
                torch.save(_on_cpu(state), temporary)

    def finish(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, the last file: it carries the checksums of all others."""
        names = [name for name in FILES[:-1] if (self.path / name).exists()] if self.saves else []
        sums = {name: hashlib.sha256((self.path / name).read_bytes()).hexdigest() for name in names}
        self.write_json("summary.json", summary | {"files": sums})

    @contextmanager
    def _file(self, name: str) -> Iterator[Path | None]:
        """A temporary file beside `name` that takes its place when the block ends well; None when nothing is saved."""
        if not self.saves:
            yield None
            return
        temporary = self.path / f".{name}.{os.getpid()}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            yield temporary
            with open(temporary, "rb") as written:
                os.fsync(written.fileno())
            os.replace(temporary, self.path / name)
        except OSError as error:
            raise RunFailed(f"cannot write {self.path / name}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)


def _check_writable(path: Path) -> None:
    """Try to make a folder where `path` will be, and leave nothing behind."""
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(20, "is a file, not a folder")
        nearest = next(p for p in (path, *path.absolute().parents) if p.exists())
        with tempfile.TemporaryDirectory(dir=nearest):
            pass
    except OSError as error:
        raise Refused(f"--result-dir: cannot write to {path}: {error.strerror or error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: the file is missing, unreadable or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"{path}: a JSON object was expected")
    return content


def environment(device: torch.device) -> dict[str, Any]:
    """Where and with what a run is made: command line, commit, whether the tree is modified, versions, device."""
    packages = ("torch", "torchvision", "numpy", "pandas")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "argv": sys.argv,
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "device": f"{device.type}: {name}, {torch.get_num_threads()} threads",
    }


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=PROJECT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _plain(value: Any) -> Any:
    """`value` with what JSON does not know made plain: tuples, numpy numbers, numbers that are not finite."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().contiguous()
    if isinstance(value, dict):
        return {k: _on_cpu(v) for k, v in value.items()}
    return [_on_cpu(v) for v in value] if isinstance(value, list) else value
