"""From the flags given to the options of one run: defaults filled in, what depends on several flags settled."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from Models import registry
from Utils.base.errors import Refused
from Utils.base.packages import require
from Utils.data.catalogue import ALIASES, NAMES, check_name
from Utils.data.contents import digest_of
from Utils.options.resolve_regrowth import settle_regrowth
from Utils.options.table import INCIDENTAL, defaults

# Options that name a file: its content makes two runs different.
FILES = ("weights", "trace", "regrow_start", "regrow_dense", "regrow_reference", "regrow_replay")
# Options newer than the names of runs and grids: where they are off, these have the names that they had before.
LATE = ("thop",)
ADAMW_DECAY = 0.01  # torch's own, where none is given
SAME_THING = ("compression", "density", "sparsity", "prune_amount")


def settle(given: Mapping[str, Any]) -> argparse.Namespace:
    """The options of one run from what was given (no lists), or `Refused` where flags contradict each other."""
    experiment = given.get("experiment", "singleshot")
    options = argparse.Namespace(**defaults(experiment) | dict(given))
    if "regrow_fraction" in options:
        settle_regrowth(options, given)
    if "dataset" in options:
        check_name(options.dataset)
        options.dataset = ALIASES.get(options.dataset, options.dataset)
    if getattr(options, "data_mirror", None) and options.dataset not in NAMES:
        raise Refused(f"--data-mirror serves the named sets ({', '.join(NAMES)}), not {options.dataset}")
    if "compression" in options:
        _settle_density(options, [d for d in SAME_THING if d in given])
    if "model_class" in options:
        options.model_class, options.model = registry.resolve(options.model, options.model_class, options.dataset)
        if options.pretrained and options.weights:
            raise Refused(f"--pretrained and --weights {options.weights} exclude each other")
    if getattr(options, "tensorboard", False):
        require("tensorboard", "--tensorboard")
    _check_places(options, given)
    if "optimizer" in options:
        _settle_training(options, given)
    if "pruner" in given and given.get("pruner_list"):
        raise Refused(f"--pruner {options.pruner} and --pruner-list exclude each other: give one of them")
    if "no_rewind" in options:
        _check_rewind(options)
    if "expid" in options:
        _check_expid(options.expid)
    if "trace" in options and not options.trace:
        raise Refused("--experiment trace needs --trace FILE, a trace of the PyTorch profiler")
    if experiment == "inspect" and not options.checkpoint:
        raise Refused("--experiment inspect needs --checkpoint FILE")
    if "run" in options and "checkpoint" not in options and not options.run:
        raise Refused(f"--experiment {options.experiment} needs --run FOLDER")
    if "run" in options:
        options.given = sorted(given)  # these hold for a saved run too, whatever it was made with
    return options


def _check_places(options: argparse.Namespace, given: Mapping[str, Any]) -> None:
    """Refuse flags about files that are not written, and about a cluster that is not asked."""
    for name in ("save_trace", "tensorboard"):
        if getattr(options, "no_save", False) and getattr(options, name, False):
            raise Refused(f"--{name.replace('_', '-')} writes files and --no-save none: leave one of them out")
    slurm = next((name for name in given if name.startswith("slurm_") and given[name] not in (None, [])), None)
    if slurm and options.launcher != "slurm":
        raise Refused(f"--{slurm.replace('_', '-')} is for --launcher slurm, not --launcher {options.launcher}")


def _settle_training(options: argparse.Namespace, given: Mapping[str, Any]) -> None:
    options.lr_drops = sorted(options.lr_drops)
    if options.optimizer == "adamw" and "weight_decay" not in given:
        options.weight_decay = ADAMW_DECAY
    if options.lr_schedule == "cosine" and options.lr_drops:
        raise Refused(f"--lr-schedule cosine and --lr-drops {options.lr_drops[0]} exclude each other")
    if getattr(options, "patience", None) and not options.val_fraction:
        raise Refused(f"--patience {options.patience} needs --val-fraction: the test set chooses nothing")


def _settle_density(options: argparse.Namespace, given: list[str]) -> None:
    if len(given) > 1:
        one, other = (f"--{g.replace('_', '-')}" for g in given[:2])
        raise Refused(f"{one} and {other} say the same thing: give one of --compression, --density, --sparsity")
    if given == ["density"]:
        options.compression, options.sparsity = -math.log10(options.density) + 0.0, 1.0 - options.density
    elif given == ["sparsity"]:
        options.density = 1.0 - options.sparsity
        options.compression = -math.log10(options.density) + 0.0
    elif given == ["prune_amount"]:
        options.compression = -options.level * math.log10(1.0 - options.prune_amount)
        options.density = (1.0 - options.prune_amount) ** options.level
        options.sparsity = 1.0 - options.density
    else:
        options.compression = options.compression or 0.0
        options.density = 10.0**-options.compression
        options.sparsity = 1.0 - options.density
    for name in ("compression", "density", "sparsity"):  # the same thing, however it was written
        setattr(options, name, float(f"{getattr(options, name):.15g}"))
    if options.pruner == "dense" and options.density < 1:
        raise Refused(f"--pruner dense keeps every weight, not a density of {options.density:.6g}: choose another pruner")


def _check_rewind(options: argparse.Namespace) -> None:
    if options.rewind_epoch and options.no_rewind:
        raise Refused(f"--rewind-epoch {options.rewind_epoch} and --no-rewind exclude each other")
    longest = min(options.pre_epochs, options.post_epochs)
    if options.rewind_epoch > longest:
        raise Refused(
            f"--rewind-epoch {options.rewind_epoch} lies behind the training that it goes back in: choose from 0 to {longest}, "
            "the smaller of --pre-epochs and --post-epochs"
        )


def _check_expid(expid: str) -> None:
    characters = any(c in "/\\:" or not c.isprintable() for c in expid)
    if characters or expid.startswith(".") or expid != expid.strip() or len(expid.encode(errors="replace")) > 200:
        raise Refused(f"--expid {expid[:60]!r}: a folder name of up to 200 bytes without / \\ :, and no dot first, is expected")


def identity(options: argparse.Namespace, *, images: bool = True) -> dict[str, Any]:
    """The options that make two runs different, as JSON keeps them; `expid` and `place` name the folder and are not among them.

    Files that an option names count by their content, under `contents`; with `images` also what a `folder:` holds, under the
    dataset's name, where something is saved at all.
    """
    kept = {k: v for k, v in vars(options).items() if k not in (*INCIDENTAL, "expid", "given", "place")}
    files = [file for name in FILES if (file := getattr(options, name, None))]
    if getattr(options, "model_class", None) == registry.USER:
        files.append(options.model.rpartition(":")[0])
    digests = {file: _digest(file) for file in files}
    if images and not getattr(options, "no_save", False):
        held = digest_of(kept.get("dataset") or "", getattr(options, "result_dir", None))
        digests |= {kept["dataset"]: held} if held else {}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()} | ({"contents": digests} if digests else {})


def differences(saved: Mapping[str, Any], asked: Mapping[str, Any], *, but: Collection[str] = ()) -> list[str]:
    """What differs between the options that a folder was made with and an identity, in words, `but` some options.

    What an image folder held is left out where it is not known of both (see `untold`).
    """
    missing = object()
    names = [k for k in asked if k not in (*but, "contents") and saved.get(k, missing) != asked[k]]
    changes = [f"{k} {saved.get(k)!r} there, {asked[k]!r} asked" for k in names]
    before, now = _contents(saved), _contents(asked)
    files = [file for file in now if before.get(file) != now[file] and (file in before or file != asked.get("dataset"))]
    return changes + [f"SHA-256 of {file} {_short(before.get(file))} there, {_short(now[file])} asked" for file in files]


def untold(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """A note where the options do not tell what an image folder held, as those of before do not, or it is not there any more."""
    dataset = str(asked.get("dataset"))
    if not dataset.startswith("folder:") or all(dataset in _contents(options) for options in (saved, asked)):
        return ""
    return f"NOTE: whether {dataset} holds what it held when this was run cannot be told"


def changed_images(recorded: Mapping[str, Any]) -> str:
    """A note where the image folder of a saved run, of which `recorded` is the `args.json`, no longer holds what it held."""
    dataset = str(recorded.get("dataset"))
    held, found = _contents(recorded).get(dataset), digest_of(dataset, str(recorded.get("result_dir")))
    return f"NOTE: {dataset} does not hold what it held when this was run" if held and found and held != found else ""


def _contents(options: Mapping[str, Any]) -> Mapping[str, Any]:
    found = options.get("contents")
    return found if isinstance(found, Mapping) else {}


def _short(digest: str | None) -> str:
    return f"{str(digest)[:12]}..." if digest else "not known"


def _digest(file: str) -> str:
    if Path(file).exists() and not (Path(file).is_file() or Path(file).is_dir()):
        raise Refused(f"{file} is no regular file")
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror or error}") from error
