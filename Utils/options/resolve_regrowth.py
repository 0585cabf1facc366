"""The resolved options of regrowth: the saved run gives the network, and folders become files.

torch is not imported.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.own_network import network_of_run
from Utils.base.text import flag_of
from Utils.options.table import of_parts
from Utils.options.types import Options

NEEDS_DENSE = ("ssim", "greedy")
REPLAYED = ("regrow_to", "regrow_fraction", "regrow_steps", "regrow_allocation", "regrow_selection", "regrow_layers")


def resolve_regrowth(options: Options, given: Collection[str]) -> Options:
    """Resolve all options of regrowth, without torch; of the run, only its `args.json` is read.

    Raises:
        Refused: see `_with_start` and `_check`.
    """
    if "regrow_to" in given and "regrow_fraction" not in given:
        options = replace(options, regrow_fraction=None)
    options = _with_start(options, given)
    _check(options, given)
    return _with_files(options)


def _with_start(options: Options, given: Collection[str]) -> Options:
    """Set the network to regrow: `regrow_start` is its file, `split_seed` the seed of the images held out.

    Network, data and prunable parameters are those of `--run`. Of a foreign `--checkpoint`, all weights of Conv2d and Linear are
    prunable.

    Raises:
        Refused: not exactly one start is given, the run's `args.json` cannot be read, flags contradict each other, or a file is
            missing.
    """
    if bool(options.run) == bool(options.checkpoint):
        raise Refused(f"--experiment {options.experiment} needs either --run FOLDER or --checkpoint FILE, the network to regrow")
    if options.run:
        options = _from_run(options, given)
    else:
        all_weights = dict.fromkeys(of_parts("prunable"), False)
        options = replace(options, split_seed=options.seed, regrow_start=options.checkpoint, **all_weights)
        if options.pretrained or options.weights:
            raise Refused(f"--checkpoint {options.checkpoint} has the weights: leave out --pretrained and --weights")
    if not options.val_fraction:
        raise Refused("--val-fraction 0: regrowth chooses by validation images, the test set chooses nothing")
    return options


def _check(options: Options, given: Collection[str]) -> None:
    """Refuse contradictions in the target, a replay, or a choice that needs a dense network and has none."""
    both = options.regrow_to is not None and options.regrow_fraction is not None
    if both:
        raise Refused("--regrow-to and --regrow-fraction exclude each other: give one of them")
    if options.regrow_replay:
        if clash := next((name for name in REPLAYED if name in given), None):
            raise Refused(f"--regrow-replay {options.regrow_replay} says what is regrown: leave out {flag_of(clash)}")
        return
    if options.regrow_to is None and options.regrow_fraction is None:
        raise Refused(f"--experiment {options.experiment} needs --regrow-to SPARSITY or --regrow-fraction SHARE")
    if options.regrow_dense:
        return
    dense = "--regrow-dense FILE, the trained dense network"
    if options.regrow_allocation in NEEDS_DENSE:
        raise Refused(f"--regrow-allocation {options.regrow_allocation} compares with a dense network: it needs {dense}")
    if not options.regrow_reference:
        for name, value in (("regrow_selection", options.regrow_selection), ("regrow_init", options.regrow_init)):
            if value == "reference":
                raise Refused(f"{flag_of(name)} reference needs --regrow-reference FILE or {dense}")


def _from_run(options: Options, given: Collection[str]) -> Options:
    if len(options.run) > 1:
        raise Refused(f"--experiment {options.experiment} takes one --run FOLDER, not {len(options.run)}")
    folder = Path(options.run[0])
    network, prunable = of_parts("dataset", "image", "network", "model"), of_parts("prunable")
    if clash := next((name for name in network if name in given and name != "model"), None):
        raise Refused(f"{flag_of(clash)} and --run {folder} exclude each other: the run says what its network is")
    if not (folder / "args.json").is_file():
        raise Refused(f"--run {folder}: no run there (args.json is missing)")
    saved = _read(folder / "args.json")
    missing = [name for name in ("model", "model_class", "dataset") if name not in saved]
    if missing or not (folder / "model.pt").is_file():
        raise Refused(f"--run {folder}: no saved network there ({'model.pt' if not missing else ', '.join(missing)} is missing)")
    told = {name: saved[name] for name in network if name in saved} | {name: saved.get(name, False) for name in prunable}
    told |= {
        "model": network_of_run(folder, saved, options.model if "model" in given else None),
        "pretrained": False, "weights": None, "weights_dense": False,  # the run's file has the weights
        "split_seed": saved.get("split_seed", saved.get("seed", options.seed)),
        "run": [str(folder)], "regrow_start": str(folder / "model.pt"),
    }  # fmt: skip
    if told["model_class"] == "user":
        told["model_class"] = None  # as for a file on the command line
    if options.augment is None:
        told["augment"] = saved.get("augment")
    if "val_fraction" not in given and saved.get("val_fraction"):
        told["val_fraction"] = saved["val_fraction"]
    if not options.regrow_dense:
        told["regrow_dense"] = _dense_of(folder, saved)
    return replace(options, **told)


def _dense_of(folder: Path, saved: dict[str, Any]) -> str | None:
    """Return the dense network of a saved run: its own, or the one beside which it was regrown."""
    if (folder / "dense.pt").is_file():
        return str(folder / "dense.pt")
    before = saved.get("regrow_dense")
    return before if before and Path(before).is_file() else None


def _with_files(options: Options) -> Options:
    """Replace folders by files: for a dense network `dense.pt` if there is one, else `model.pt`."""
    files = {
        "regrow_dense": (options.regrow_dense, ("dense.pt", "model.pt")),
        "regrow_reference": (options.regrow_reference, ("model.pt",)),
        "regrow_replay": (options.regrow_replay, ("regrow_masks.pt",)),
    }
    return replace(options, **{name: _file(name, value, held) for name, (value, held) in files.items() if value})


def _file(name: str, value: str, held: Collection[str]) -> str:
    path = Path(value)
    if path.is_dir():
        path = next((path / file for file in held if (path / file).is_file()), path)
    if not path.is_file():
        raise Refused(f"{flag_of(name)} {value}: there is no such file")
    return str(path)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"--run {file.parent}: {file.name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"--run {file.parent}: {file.name} is no JSON object")
    return content
