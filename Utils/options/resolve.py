"""The options of one run from the flags given: defaults filled in, dependences between flags resolved."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import Pruners
from Models import registry
from Utils.base.errors import Refused
from Utils.base.packages import require
from Utils.base.text import flag_of
from Utils.data.catalogue import find, named_sets, own_name
from Utils.data.folder_hashes import digest_of
from Utils.options.experiments import DEFAULT
from Utils.options.resolve_regrowth import resolve_regrowth
from Utils.options.table import defaults, incidental, table
from Utils.options.types import Options

ADAMW_DECAY = 0.01  # torch's default
SAME_THING = ("compression", "density", "sparsity", "prune_amount")
DIGITS = 15  # significant digits of a density, so that all three ways to write it give the same number


def resolve(given: Mapping[str, Any]) -> Options:
    """Resolve the options of one run from the flags given (no lists).

    Raises:
        Refused: flags contradict each other, or one that the experiment needs is missing.
    """
    options = Options(**defaults(given.get("experiment", DEFAULT)) | dict(given))
    if options.reads("regrow"):
        options = resolve_regrowth(options, given)
    if options.reads("dataset"):
        find(options.dataset)  # refuses a word that names no dataset
        options = replace(options, dataset=own_name(options.dataset))
    if options.data_mirror and options.dataset not in named_sets():
        raise Refused(f"--data-mirror serves the named sets ({', '.join(named_sets())}), not {options.dataset}")
    options = with_density(options, given)
    if options.reads("model"):
        model_class, model = registry.resolve(options.model, options.model_class, options.dataset)
        options = replace(options, model_class=model_class, model=model)
        if options.pretrained and options.weights:
            raise Refused(f"--pretrained and --weights {options.weights} exclude each other: give one of them")
        if options.weights_dense and not options.weights and "weights_dense" in given:
            raise Refused("--weights-dense says how the file of --weights is taken: give --weights FILE, or leave it out")
    if options.tensorboard:
        require("tensorboard", "--tensorboard")
    _check_places(options, given)
    if options.reads("train"):
        options = _with_training(options, given)
    if "pruner" in given and given.get("pruner_list"):
        raise Refused(f"--pruner {options.pruner} and --pruner-list exclude each other: give one of them")
    _check_rewind(options)
    _check_expid(options.expid)
    _check_needed(options)
    # The options that were given override those of a saved run.
    return replace(options, given=sorted(given)) if options.reads("run") else options


def with_rounds(options: Options) -> Options:
    """Fill in the pruner's own number of rounds where `--prune-epochs` was not given; this imports the pruner."""
    if options.prune_epochs is not None or not (options.reads("prune") and options.reads("grid")):
        return options
    return replace(options, prune_epochs=Pruners.load(options.pruner).rounds)


def _check_needed(options: Options) -> None:
    """Refuse an experiment without the file or the folder that it works on."""
    name = options.experiment
    if options.reads("trace") and not options.trace:
        raise Refused(f"--experiment {name} needs --trace FILE, a trace of the PyTorch profiler")
    if options.reads("checkpoint") and not options.reads("run") and not options.checkpoint:
        raise Refused(f"--experiment {name} needs --checkpoint FILE")
    if options.reads("run") and not options.reads("checkpoint") and not options.run:
        raise Refused(f"--experiment {name} needs --run FOLDER")


def _check_places(options: Options, given: Mapping[str, Any]) -> None:
    """Refuse flags on files together with `--no-save`, and flags of Slurm without `--launcher slurm`."""
    for flag, asked in (("--save-trace", options.save_trace), ("--tensorboard", options.tensorboard)):
        if options.no_save and asked:
            raise Refused(f"{flag} writes files and --no-save none: leave one of them out")
    slurm = next((name for name in given if name.startswith("slurm_") and given[name] not in (None, [])), None)
    if slurm and options.launcher != "slurm":
        raise Refused(f"{flag_of(slurm)} is for --launcher slurm, not --launcher {options.launcher}")


def _with_training(options: Options, given: Collection[str]) -> Options:
    if options.lr_schedule == "cosine" and options.lr_drops:
        raise Refused(f"--lr-schedule cosine and --lr-drops {min(options.lr_drops)} exclude each other: give one of them")
    if options.quantization and options.precision in ("float32", "tf32"):
        raise Refused(f"--quantization and --precision {options.precision} exclude each other: give one of them")
    if options.patience and not options.val_fraction:
        raise Refused(f"--patience {options.patience} needs --val-fraction: the test set chooses nothing")
    decay = weight_decay(options.optimizer, given, options.weight_decay)
    return replace(options, lr_drops=sorted(options.lr_drops), weight_decay=decay)


def weight_decay(optimizer: str, given: Collection[str], value: float) -> float:
    """Return the weight decay: `value`, or AdamW's own if it is not among the options `given`."""
    return ADAMW_DECAY if optimizer == "adamw" and "weight_decay" not in given else value


def with_density(options: Options, names: Collection[str]) -> Options:
    """Compute compression, density and sparsity from the one among the `names` that were given; without any, all is kept."""
    given = [name for name in SAME_THING if name in names]
    if len(given) > 1:
        one, other = map(flag_of, given[:2])
        raise Refused(f"{one} and {other} say the same thing: give one of --compression, --density, --sparsity")
    density, sparsity, compression = options.density, options.sparsity, options.compression or 0.0
    if given == ["density"]:
        compression, sparsity = -math.log10(density) + 0.0, 1.0 - density
    elif given == ["sparsity"]:
        density = 1.0 - sparsity
        compression = -math.log10(density) + 0.0
    elif given == ["prune_amount"]:
        kept = 1.0 - (options.prune_amount or 0.0)
        compression, density = -(options.level or 1) * math.log10(kept), kept ** (options.level or 1)
        sparsity = 1.0 - density
    else:
        density = 10.0**-compression
        sparsity = 1.0 - density
    compression, density, sparsity = (float(f"{value:.{DIGITS}g}") for value in (compression, density, sparsity))
    if options.pruner == Pruners.DENSE and density < 1:
        raise Refused(f"--pruner dense keeps every weight, not a density of {density:.6g}: choose another pruner")
    return replace(options, compression=compression, density=density, sparsity=sparsity)


def _check_rewind(options: Options) -> None:
    if options.rewind_epoch and options.no_rewind:
        raise Refused(f"--rewind-epoch {options.rewind_epoch} and --no-rewind exclude each other: give one of them")
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


def identity(options: Options, *, images: bool = True) -> dict[str, Any]:
    """Return the options that make two runs different, as JSON keeps them.

    `expid` and `place` only name the folder and are left out, and so is a `--precision` that was not given: it depends on the
    machine. Files that an option names count by their content, under `contents`. With `images`, the content of a `folder:`
    counts likewise, under the dataset's name, if the run is saved at all.
    """
    left_out = {*incidental(), "given", "place", *(("precision",) if options.precision is None else ())}
    kept = {name: _as_json(value) for name, value in options.record().items() if name not in left_out}
    digests = {file: _digest(file) for file in _files(options)}
    if images and not options.no_save:
        held = digest_of(kept.get("dataset") or "", options.result_dir)
        digests |= {kept["dataset"]: held} if held else {}
    return kept | ({"contents": digests} if digests else {})


def without_late(facts: Mapping[str, Any], *, always: Collection[str] = ()) -> dict[str, Any]:
    """Leave out the late options at their defaults, so that the names and keys of earlier versions stay the same.

    Args:
        facts: options by name, as `identity` returns them.
        always: late options that such a name or key had from the beginning.
    """
    late = {option.name: _as_json(option.default) for option in table() if option.late and option.name not in always}
    return {name: value for name, value in facts.items() if name not in late or value != late[name]}


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _files(options: Options) -> list[str]:
    """List the files that the options name."""
    named = [getattr(options, option.name) for option in table() if option.file] + [options.regrow_start]
    if options.model_class == registry.USER:
        named.append(options.model.rpartition(":")[0])
    return [file for file in named if file]


def differences(saved: Mapping[str, Any], asked: Mapping[str, Any], *, but: Collection[str] = ()) -> list[str]:
    """Describe the differences between the options that a folder was made with and an identity, except the options `but`.

    The content of an image folder is compared only if both know it (see `untold`).
    """
    missing = object()
    names = [k for k in asked if k not in (*but, "contents") and saved.get(k, missing) != asked[k]]
    changes = [f"{k} {saved.get(k)!r} there, {asked[k]!r} asked" for k in names]
    before, now = _contents(saved), _contents(asked)
    files = [file for file in now if before.get(file) != now[file] and (file in before or file != asked.get("dataset"))]
    pairs = ((file, short_digest(before.get(file)), short_digest(now[file])) for file in files)
    return changes + [f"SHA-256 of {file} {there} there, {asked_for} asked" for file, there, asked_for in pairs]


def untold(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return a note if the content of an image folder cannot be compared; "" if it can.

    The content is unknown for a run of an earlier version, and for a folder that no longer exists.
    """
    dataset = str(asked.get("dataset"))
    if not dataset.startswith("folder:") or all(dataset in _contents(options) for options in (saved, asked)):
        return ""
    return f"NOTE: whether {dataset} holds what it held when this was run cannot be told"


def changed_images(recorded: Mapping[str, Any]) -> str:
    """Return a note if the image folder of a saved run has changed since; `recorded` is the run's `args.json`."""
    dataset = str(recorded.get("dataset"))
    held, found = _contents(recorded).get(dataset), digest_of(dataset, str(recorded.get("result_dir")))
    return f"NOTE: {dataset} does not hold what it held when this was run" if held and found and held != found else ""


def _contents(options: Mapping[str, Any]) -> Mapping[str, Any]:
    found = options.get("contents")
    return found if isinstance(found, Mapping) else {}


def short_digest(digest: str | None) -> str:
    """Shorten a SHA-256 for a reader."""
    return f"{str(digest)[:12]}..." if digest else "not known"


def _digest(file: str) -> str:
    if Path(file).exists() and not (Path(file).is_file() or Path(file).is_dir()):
        raise Refused(f"{file} is no regular file")
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror or error}") from error
