"""The options of regrowth, settled: what the saved run says of its network, and where the files are. torch is not imported."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from Utils.base.errors import Refused
from Utils.base.own_network import network_of_run

# What a saved run says of its network and data; a command that names the run does not say it again.
NETWORK = ("dataset", "image_size", "model", "model_class", "dense_classifier", "pretrained", "weights")
PRUNABLE = ("prune_bias", "prune_batchnorm", "prune_residual")
NEEDS_DENSE = ("ssim", "greedy")


def settle_regrowth(options: argparse.Namespace, given: Collection[str]) -> None:
    """Settle all options of regrowth; torch is not needed, and nothing is read but the run's `args.json`.

    Raises:
        Refused: see `_settle_start` and `_check`.
    """
    if "regrow_to" in given and "regrow_fraction" not in given:
        options.regrow_fraction = None
    _settle_start(options, given)
    _check(options, given)
    _settle_files(options)


def _settle_start(options: argparse.Namespace, given: Collection[str]) -> None:
    """Say in `options` what is regrown: `regrow_start` is its file, `split_seed` the seed of the images held out.

    Network, data and prunable parameters are those of `--run`; of a foreign `--checkpoint` all weights of Conv2d and Linear are
    prunable.

    Raises:
        Refused: not exactly one start, the run's `args.json` cannot be read, flags contradict each other, a file is missing.
    """
    experiment = options.experiment
    if bool(options.run) == bool(options.checkpoint):
        raise Refused(f"--experiment {experiment} needs either --run FOLDER or --checkpoint FILE, the network to regrow")
    options.split_seed = options.seed
    if options.run:
        _from_run(options, given)
    else:
        options.regrow_start = options.checkpoint
        for name in PRUNABLE:
            setattr(options, name, False)
        if options.pretrained or options.weights:
            raise Refused(f"--checkpoint {options.checkpoint} has the weights: leave out --pretrained and --weights")
    if not options.val_fraction:
        raise Refused("--val-fraction 0: regrowth chooses by validation images, the test set chooses nothing")


def _check(options: argparse.Namespace, given: Collection[str]) -> None:
    """Refuse what contradicts itself: the target, a replay, a choice that has no dense network to look at."""
    both = [f for f in ("regrow_to", "regrow_fraction") if getattr(options, f, None) is not None]
    replay = getattr(options, "regrow_replay", None)
    if len(both) > 1:
        raise Refused("--regrow-to and --regrow-fraction exclude each other: give one of them")
    if replay:
        rivals = ("regrow_to", "regrow_fraction", "regrow_steps", "regrow_allocation", "regrow_selection", "regrow_layers")
        if clash := next((r for r in rivals if r in given), None):
            raise Refused(f"--regrow-replay {replay} says what is regrown: leave out --{clash.replace('_', '-')}")
    elif not both:
        raise Refused(f"--experiment {options.experiment} needs --regrow-to SPARSITY or --regrow-fraction SHARE")
    if replay or options.regrow_dense:
        return
    allocation, dense = getattr(options, "regrow_allocation", None), "--regrow-dense FILE, the trained dense network"
    if allocation in NEEDS_DENSE:
        raise Refused(f"--regrow-allocation {allocation} compares with a dense network: it needs {dense}")
    if not options.regrow_reference:
        for flag in ("regrow_selection", "regrow_init"):
            if getattr(options, flag, None) == "reference":
                raise Refused(f"--{flag.replace('_', '-')} reference needs --regrow-reference FILE or {dense}")


def _from_run(options: argparse.Namespace, given: Collection[str]) -> None:
    if len(options.run) > 1:
        raise Refused(f"--experiment {options.experiment} takes one --run FOLDER, not {len(options.run)}")
    folder = Path(options.run[0])
    if clash := next((n for n in NETWORK if n in given and n != "model"), None):
        raise Refused(f"--{clash.replace('_', '-')} and --run {folder} exclude each other: the run says what its network is")
    if not (folder / "args.json").is_file():
        raise Refused(f"--run {folder}: no run there (args.json is missing)")
    saved = _read(folder / "args.json")
    missing = [name for name in ("model", "model_class", "dataset") if name not in saved]
    if missing or not (folder / "model.pt").is_file():
        raise Refused(f"--run {folder}: no saved network there ({'model.pt' if not missing else ', '.join(missing)} is missing)")
    named = network_of_run(folder, saved, options.model if "model" in given else None)
    for name in (*NETWORK, *PRUNABLE):
        setattr(options, name, saved.get(name, False if name in PRUNABLE else getattr(options, name)))
    options.model, options.pretrained, options.weights = named, False, None  # the run's file has the weights
    if options.model_class == "user":
        options.model_class = None  # as it is when the command line names a file
    if options.augment is None:
        options.augment = saved.get("augment")
    options.split_seed = saved.get("split_seed", saved.get("seed", options.seed))
    if "val_fraction" not in given and saved.get("val_fraction"):
        options.val_fraction = saved["val_fraction"]
    options.run, options.regrow_start = [str(folder)], str(folder / "model.pt")
    if not options.regrow_dense and (folder / "dense.pt").is_file():
        options.regrow_dense = str(folder / "dense.pt")
    if not options.regrow_dense and saved.get("regrow_dense") and Path(saved["regrow_dense"]).is_file():
        options.regrow_dense = saved["regrow_dense"]  # a network that was regrown before


def _settle_files(options: argparse.Namespace) -> None:
    """A folder stands for its network: for the dense one `dense.pt` if there is any, else `model.pt`."""
    for name, files in (("regrow_dense", ("dense.pt", "model.pt")), ("regrow_reference", ("model.pt",)), ("regrow_replay", ())):
        value = getattr(options, name, None)
        if not value:
            continue
        path = Path(value)
        if path.is_dir():
            path = next((path / f for f in (files or ("regrow_masks.pt",)) if (path / f).is_file()), path)
        if not path.is_file():
            raise Refused(f"--{name.replace('_', '-')} {value}: there is no such file")
        setattr(options, name, str(path))


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"--run {file.parent}: {file.name} cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise Refused(f"--run {file.parent}: {file.name} is no JSON object")
    return content
