"""Every option, declared once: flag, type, default, help, and through its group which experiments read it."""

from __future__ import annotations

import argparse
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import Pruners
from Experiments import EXPERIMENTS
from Models import registry
from Utils.data.catalogue import ALIASES, NAMES, check_name
from Utils.errors import Refused
from Utils.flags import Parser, Switch, integer, number

DESCRIPTION = "Prune neural networks and measure what is left: scores, masks, training, FLOPs, one folder per run."
DATASETS = (
    "mnist, fashion-mnist, cifar10, cifar100, tiny-imagenet, imagenet, a torchvision class name, folder:PATH, or "
    "synthetic:CxHxW:CLASSES[:N]"
)
LISTS = ("pruners", "models", "datasets", "experiments")
COUNT, POSITIVE, LARGE = integer(0, 2**31 - 1), integer(1, 2**31 - 1), integer(0, 2**63 - 1)


@dataclass(frozen=True)
class Option:
    """One flag. `reader` says which part of the program reads it; an experiment lists the readers it has."""

    flag: str
    reader: str
    help: str
    default: Any = None
    parse: Callable[[str], Any] | None = str  # None: a switch
    choices: tuple[str, ...] | None = None
    nargs: str | None = None

    @property
    def dest(self) -> str:
        """Its name in the namespace and in `args.json`."""
        return self.flag[2:].replace("-", "_")


# Headings of the help, and the readers under each.
GROUPS = {
    "experiment": ("always", "save", "run", "seed", "device", "verbose"),
    "data": ("dataset", "data", "image", "augment", "mirror"),
    "model": ("model",),
    "training": ("train", "test"),
    "pruning": ("prune",),
}
# Options that do not make two runs different; everything else does, defaults included.
INCIDENTAL = ("gpu", "workers", "no_cuda", "verbose", "result_dir", "data_dir", "overwrite", "no_save")


def table() -> tuple[Option, ...]:
    """All options, in the order of the help."""
    return (
        Option("--experiment", "always", "what to do (see --list experiments)", "singleshot", choices=tuple(EXPERIMENTS)),
        Option("--dataset", "dataset", DATASETS, "mnist"),
        Option("--data-dir", "data", "where datasets lie", "Data"),
        Option("--no-download", "data", "never use the network", False, None),
        Option("--image-size", "image", "side of the images; default: their size if up to 64, else 224", None, integer(1, 4096)),
        Option("--workers", "data", "worker processes that read images above 64 pixels", 4, COUNT),
        Option("--augment", "augment", "how training images are varied; default: by dataset", None,
               choices=("none", "crop-flip", "imagenet")),
        Option("--data-mirror", "mirror", "base URL to fetch the dataset's files from"),
        Option("--model", "model", "network (see --list models), a torchvision name, or FILE.py:FUNCTION", "fc"),
        Option("--model-class", "model", "family of the network; default: by dataset and name", None,
               choices=("default", "lottery", "tinyimagenet", "imagenet", "torchvision")),
        Option("--dense-classifier", "model", "leave the last layer unpruned", False, None),
        Option("--pretrained", "model", "start from torchvision's pretrained weights", False, None),
        Option("--weights", "model", "start from the state_dict in this file"),
        Option("--optimizer", "train", "momentum is SGD with Nesterov momentum 0.9", "adam",
               choices=("sgd", "momentum", "adam", "rms")),
        Option("--train-batch-size", "train", "images per training step", 64, POSITIVE),
        Option("--test-batch-size", "test", "images per evaluation step", 256, POSITIVE),
        Option("--pre-epochs", "train", "epochs of dense training before pruning", 0, COUNT),
        Option("--post-epochs", "train", "epochs of training after pruning", 10, COUNT),
        Option("--lr", "train", "learning rate", 0.001, number(above=0)),
        Option("--lr-drops", "train", "epochs after which the learning rate drops, in each phase", (), POSITIVE, nargs="*"),
        Option("--lr-drop-rate", "train", "factor of a drop", 0.1, number(above=0)),
        Option("--weight-decay", "train", "L2 penalty", 0.0, number(0)),
        Option("--pruner", "prune", "pruning method", "rand", choices=Pruners.names()),
        Option("--compression", "prune", "log10 of total over kept prunable weights: density is 10^-C", None, number(0, 30)),
        Option("--density", "prune", "the same as kept over total", None, number(above=0, high=1)),
        Option("--sparsity", "prune", "the same as 1 - density", None, number(0, below=1)),
        Option("--prune-epochs", "prune", "rounds of scoring; default: the method's (100 for synflow, else 1)", None, POSITIVE),
        Option("--compression-schedule", "prune", "densities of the rounds", "exponential", choices=("linear", "exponential")),
        Option("--mask-scope", "prune", "rank all weights together or each layer's", "global", choices=("global", "local")),
        Option("--prune-dataset-ratio", "prune", "scoring images per class", 10, POSITIVE),
        Option("--prune-batch-size", "prune", "images per scoring step", 256, POSITIVE),
        Option("--prune-bias", "prune", "prune biases too", False, None),
        Option("--prune-batchnorm", "prune", "prune BatchNorm too", False, None),
        Option("--prune-residual", "prune", "prune identity shortcuts too", False, None),
        Option("--prune-train-mode", "prune", "score in train mode", False, None),
        Option("--reinitialize", "prune", "draw new weights after pruning", False, None),
        Option("--shuffle", "prune", "permute each mask within its layer after pruning", False, None),
        Option("--invert", "prune", "remove the largest scores instead of the smallest", False, None),
        Option("--run", "run", "folders of saved runs", (), nargs="+"),
        Option("--expid", "save", "name of the run's folder; default: made from the options", ""),
        Option("--result-dir", "save", "where run folders are made", "Results/data"),
        Option("--no-save", "save", "write nothing", False, None),
        Option("--overwrite", "save", "start afresh where the folder exists", False, None),
        Option("--seed", "seed", "seed of every random number", 1, LARGE),
        Option("--gpu", "device", "number of the CUDA device", 0, COUNT),
        Option("--no-cuda", "device", "use the CPU", False, None),
        Option("--verbose", "verbose", "print every epoch and round", False, None),
    )


def build_parser() -> Parser:
    """The parser of the whole command line; it leaves out what is not given."""
    usage = "main.py [--experiment NAME] [flags]"
    parser = Parser("main.py", usage, DESCRIPTION, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--list", choices=LISTS, help="print what there is to choose from, and exit")
    for title, readers in GROUPS.items():
        group = parser.add_argument_group(title)
        for option in (o for o in table() if o.reader in readers):
            shown = "" if option.default in (None, False, "", ()) else f" (default: {option.default})"
            if option.parse is None:
                group.add_argument(option.flag, action=Switch, help=option.help)
            else:
                extra = {"choices": option.choices} if option.choices else {"metavar": option.dest.rpartition("_")[2].upper()}
                group.add_argument(option.flag, type=option.parse, nargs=option.nargs, help=option.help + shown, **extra)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line into options: those that the experiment reads, defaults filled in. torch is not imported.

    Raises:
        Refused: a flag that the experiment does not read, or values that exclude each other.
        SystemExit: status 2 after one line for a malformed flag; 0 after `--help`.
    """
    given = vars(build_parser().parse_args(argv))
    if "list" in given:
        if len(given) > 1:
            other = next(g for g in given if g != "list").replace("_", "-")
            raise Refused(f"--list {given['list']} goes alone, without --{other}")
        return argparse.Namespace(**given)
    name = given.get("experiment", "singleshot")
    reads = EXPERIMENTS[name].reads
    read = [o for o in table() if o.reader == "always" or o.reader in reads]
    known = {o.dest for o in read}
    for option in table():
        if option.dest in given and option.dest not in known:
            readers = [e for e, experiment in EXPERIMENTS.items() if option.reader in experiment.reads]
            raise Refused(f"{option.flag} is not read by --experiment {name}; it is read by {', '.join(readers)}")
    options = argparse.Namespace(**{o.dest: given.get(o.dest, o.default) for o in read})
    _check_together(options, given)
    return options


def defaults(experiment: str) -> dict[str, Any]:
    """What each option that `experiment` reads is when it is not given."""
    return {o.dest: o.default for o in table() if o.reader == "always" or o.reader in EXPERIMENTS[experiment].reads}


def _check_together(options: argparse.Namespace, given: dict[str, Any]) -> None:
    """Settle what depends on several flags, and refuse combinations that contradict each other."""
    if "dataset" in options:
        check_name(options.dataset)
        options.dataset = ALIASES.get(options.dataset, options.dataset)
    if getattr(options, "data_mirror", None) and options.dataset not in NAMES:
        raise Refused(f"--data-mirror serves the named sets ({', '.join(NAMES)}), not {options.dataset}")
    if "compression" in options:
        _settle_density(options, [d for d in ("compression", "density", "sparsity") if d in given])
    if "model" in options:
        options.model_class, options.model = registry.resolve(options.model, options.model_class, options.dataset)
        if options.pretrained and options.weights:
            raise Refused(f"--pretrained and --weights {options.weights} exclude each other")
    if "lr_drops" in options:
        options.lr_drops = sorted(options.lr_drops)
    if "expid" in options:
        _check_expid(options.expid)
    if "run" in options and not options.run:
        raise Refused(f"--experiment {options.experiment} needs --run FOLDER")


def _settle_density(options: argparse.Namespace, given: list[str]) -> None:
    if len(given) > 1:
        raise Refused(f"--{given[0]} and --{given[1]} say the same thing: give one of --compression, --density, --sparsity")
    if given == ["density"]:
        options.compression, options.sparsity = -math.log10(options.density) + 0.0, 1.0 - options.density
    elif given == ["sparsity"]:
        options.density = 1.0 - options.sparsity
        options.compression = -math.log10(options.density) + 0.0
    else:
        options.compression = options.compression or 0.0
        options.density = 10.0**-options.compression
        options.sparsity = 1.0 - options.density


def _check_expid(expid: str) -> None:
    characters = any(c in "/\\:" or not c.isprintable() for c in expid)
    if characters or expid in (".", "..") or expid != expid.strip() or len(expid.encode(errors="replace")) > 200:
        raise Refused(f"--expid {expid[:60]!r}: a folder name of up to 200 bytes without / \\ : is expected")


def identity(options: argparse.Namespace) -> dict[str, Any]:
    """The options that make two runs different, as JSON keeps them; `expid` names the folder and is not among them.

    Files that an option names count by their content, under `contents`.
    """
    kept = {k: v for k, v in vars(options).items() if k not in (*INCIDENTAL, "expid")}
    files = [options.weights] if options.weights else []
    if options.model_class == registry.USER:
        files.append(options.model.rpartition(":")[0])
    digests = {file: _digest(file) for file in files}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in kept.items()} | ({"contents": digests} if digests else {})


def _digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror or error}") from error
