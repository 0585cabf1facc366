"""Saved runs that `--run` names: their folders, their networks as plain tensors, and their titles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from Utils.base.errors import Refused, RunFailed
from Utils.base.json_files import read_json
from Utils.base.tensor_files import read_tensor_file
from Utils.base.text import print_lines, shown

MODEL = "model.pt"
NO_RUNS = ("report", "slurm")  # folders of a grid that are not cells
LONGEST = 40  # letters of a part of a title


def saved_networks(names: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Find the run folders among `names` that hold a network, each once; the folder of a grid stands for all its cells.

    Returns:
        The folders, and a note for each folder without a network, which is left out.

    Raises:
        Refused: there is none at all.
    """
    found: dict[Path, Path] = {}
    for name in names:
        for run in _runs(Path(name)):
            found.setdefault(run.resolve(), run)
    whole = [run for run in found.values() if _is_file(run / MODEL)]
    if not whole:
        raise Refused(f"--run {' '.join(map(str, names))}: no saved network there ({MODEL} is missing)")
    return whole, [f"{shown(run)}: no saved network ({MODEL} is missing)" for run in found.values() if run not in whole]


def named_networks(names: Iterable[str | Path]) -> list[Path]:
    """Find the run folders among `names` that hold a network, and print a line for each other one (see `saved_networks`)."""
    folders, notes = saved_networks(names)
    print_lines(notes)
    return folders


def on_saved_networks(names: Iterable[str | Path], work: Callable[[Path], None]) -> None:
    """Do `work` in the folder of each saved run among `names`; errors as in `saved_networks` and `do_each`."""
    do_each(named_networks(names), work)


def do_each(folders: Sequence[Path], work: Callable[[Path], None]) -> None:
    """Do `work` in the folder of each run; print the name of one that fails, and continue with the others.

    Raises:
        Refused: no run could be read, so that no file was written.
        RunFailed: the work failed in some folders.
    """
    errors = list(failures(folders, work, _failure).values())
    if len(errors) == len(folders) and (len(folders) == 1 or all(isinstance(e, Refused) for e in errors)):
        raise errors[0]
    if errors:
        raise RunFailed(f"{len(errors)} of {len(folders)} runs failed: {errors[0]}") from errors[0]


def failures(
    folders: Sequence[Path], work: Callable[[Path], None], failure: Callable[[Path, Exception], Exception | None]
) -> dict[Path, Exception]:
    """Do `work` in the folder of each run, print each failure, and return the failures by folder.

    `failure` turns an exception into a Refused or RunFailed; if it returns None, the exception ends all work.
    """
    errors: dict[Path, Exception] = {}
    for folder in folders:
        try:
            work(folder)
        except Exception as error:
            found = failure(folder, error)
            if found is None:
                raise
            errors[folder] = found
            if len(folders) > 1:
                print(f"{shown(folder)}: failed: {found}")
    return errors


def _failure(folder: Path, error: Exception) -> Exception | None:
    if isinstance(error, OSError):
        return Refused(f"{error.filename or folder} cannot be read: {error.strerror or error}")
    return error if isinstance(error, Refused | RunFailed) else None


def _runs(folder: Path) -> list[Path]:
    if not _is_file(folder / "grid.csv", closed=False):
        return [folder]
    return sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".") and f.name not in NO_RUNS)


def _is_file(path: Path, *, closed: bool = True) -> bool:
    """Tell whether `path` is a file; `closed` if the system does not say, so that a later reader refuses it."""
    try:
        return path.is_file()
    except OSError:
        return closed


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read the `state_dict` in `file`, onto the CPU, without running code from it.

    Raises:
        Refused: it cannot be read, or holds anything else than tensors of numbers.
    """
    content = read_tensor_file(file)
    if not isinstance(content, Mapping):
        raise Refused(f"{file} holds no state_dict but a {type(content).__name__}")
    for name, tensor in content.items():
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided):
            raise Refused(f"{file} holds no plain state_dict: {name} is no dense tensor")
    return dict(content)


def heading(folder: Path) -> str:
    """Return model, dataset and pruner of a saved run, for a title; the folder's name if its `args.json` lacks them.

    Of a path only the last part is shown.
    """
    try:
        saved = read_json(folder / "args.json")
    except Refused:
        saved = {}
    words = [str(saved[key]) for key in ("model", "dataset", "pruner") if saved.get(key)]
    return ", ".join(shortened(last_part(word)) for word in words) or shortened(folder.name)


def last_part(word: str) -> str:
    """Shorten a path to its last part: `folder:/a/b` -> `folder:b`, `/a/net.py:build` -> `net.py:build`."""
    kind, colon, rest = word.partition(":")
    return f"{kind}:{Path(rest).name}" if colon and "/" in rest and "/" not in kind else Path(word).name or word


def shortened(word: str, longest: int = LONGEST) -> str:
    """Shorten a long word to its end, where names of files differ."""
    return word if len(word) <= longest else f"...{word[3 - longest :]}"
