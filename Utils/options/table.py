"""Every option, declared once: flag, type, default, help, and through its reader which experiments read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import Pruners
from Pruners._shared.distributions import DISTRIBUTIONS
from Pruners._shared.schedules import DEFAULT, SCHEDULES
from Utils.options.experiments import EXPERIMENTS
from Utils.options.flags import integer, name, number, option_pair, override

DATASETS = (
    "mnist, fashion-mnist, cifar10, cifar100, tiny-imagenet, imagenet, a torchvision class name, folder:PATH, or "
    "synthetic:CxHxW:CLASSES[:N]"
)
COUNT, POSITIVE, LARGE = integer(0, 2**31 - 1), integer(1, 2**31 - 1), integer(0, 2**63 - 1)
COMPRESSION, DENSITY, SPARSITY = number(0, 30), number(above=0, high=1), number(0, below=1)
ALLOCATIONS = ("ssim", "uniform", "proportional", "greedy", "rl")
SELECTIONS = ("reference", "saliency", "gradient", "magnitude", "random")
INITS = ("zero", "reference", "kaiming", "original")
ABLATIONS = {"none": None, "shuffle": "shuffle", "reinit": "reinitialize", "invert": "invert"}  # word -> option it turns on


@dataclass(frozen=True)
class Option:
    """One flag. `reader` says which part of the program reads it; an experiment lists the readers it has.

    `axis` marks a list: the option that takes one of its values in each cell of a grid.
    """

    flag: str
    reader: str
    help: str
    default: Any = None
    parse: Callable[[str], Any] | None = name  # None: a switch
    choices: tuple[str, ...] | None = None
    nargs: str | None = None
    axis: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether its values are texts, not numbers or pairs."""
        return self.parse in (str, name)

    @property
    def dest(self) -> str:
        """Its name in the namespace and in `args.json`."""
        return self.flag[2:].replace("-", "_")


# Headings of the help, and the readers under each.
GROUPS = {
    "experiment": ("always", "assignment", "save", "run", "checkpoint", "histogram", "saliency", "report", "trace", "seed",
                   "device", "verbose"),
    "data": ("dataset", "data", "image", "augment", "mirror"),
    "model": ("network", "model"),
    "training": ("dense", "checkpoints", "train", "epochs", "held out", "validation", "compact", "test", "profile"),
    "pruning": ("prunable", "prune", "counting", "ablations"),
    "levels (multishot)": ("levels",),
    "masks that move in training (set, rigl)": ("updates",),
    "regrowth": ("regrow", "regrow choice", "regrow search", "regrow mini", "regrow bench"),
    "grids (a list runs every combination)": ("lists", "seed list", "pruner list", "schedule lists", "regrow lists",
                                              "overrides", "grid"),
}
# Options that do not make two runs different; everything else does, defaults included.
INCIDENTAL = (
    "gpu", "workers", "no_cuda", "verbose", "result_dir", "data_dir", "overwrite", "no_save", "checkpoint_every", "tensorboard",
    "jobs", "dry_run", "launcher", "slurm_partition", "slurm_time", "slurm_memory", "slurm_gpus", "slurm_cpus", "slurm_option",
)  # fmt: skip


def table() -> tuple[Option, ...]:
    """All options, in the order of the help."""
    pruners = Pruners.names()
    return (
        Option("--experiment", "always", "what to do (see --list experiments)", "singleshot", choices=tuple(EXPERIMENTS)),
        Option("--preset", "assignment", "an assignment: a name in Experiments/presets, or a file of your own, FILE.toml"),
        Option("--scale", "assignment", "factor on the preset's epochs, of which at least one stays", 1.0,
               number(above=0, high=1000)),
        Option("--dataset", "dataset", DATASETS, "mnist"),
        Option("--data-dir", "data", "where datasets lie", "Data"),
        Option("--no-download", "data", "never use the network", False, None),
        Option("--image-size", "image", "side of the images; default: their size if up to 64, else 224", None, integer(1, 4096)),
        Option("--workers", "data", "worker processes that read images above 64 pixels, up to 4 for each CPU core", 4, COUNT),
        Option("--augment", "augment", "how training images are varied; default: by dataset", None,
               choices=("none", "crop-flip", "imagenet")),
        Option("--data-mirror", "mirror", "base URL to fetch the dataset's files from"),
        Option("--model", "network", "network (see --list models), a torchvision name, or FILE.py:FUNCTION", "fc"),
        Option("--model-class", "model", "family of the network; default: by dataset and name", None,
               choices=("default", "lottery", "tinyimagenet", "imagenet", "torchvision")),
        Option("--dense-classifier", "model", "leave the last layer unpruned", False, None),
        Option("--pretrained", "model", "start from torchvision's pretrained weights", False, None),
        Option("--weights", "model", "start from the state_dict in this file"),
        Option("--optimizer", "train", "momentum is SGD with Nesterov momentum 0.9", "adam",
               choices=("sgd", "momentum", "adam", "adamw", "rms")),
        Option("--train-batch-size", "train", "images per training step", 64, POSITIVE),
        Option("--test-batch-size", "test", "images per evaluation step", 256, POSITIVE),
        Option("--pre-epochs", "dense", "epochs of dense training before pruning", 0, COUNT),
        Option("--post-epochs", "epochs", "epochs of training after pruning", 10, COUNT),
        Option("--lr", "train", "learning rate", 0.001, number(above=0)),
        Option("--lr-drops", "train", "epochs after which the learning rate drops, in each phase", (), POSITIVE, nargs="*"),
        Option("--lr-drop-rate", "train", "factor of a drop", 0.1, number(above=0)),
        Option("--lr-schedule", "train", "drop at --lr-drops, or fall to 0 in each phase", "steps", choices=("steps", "cosine")),
        Option("--lr-warmup", "train", "epochs at the start of each phase in which the learning rate rises", 0, COUNT),
        Option("--weight-decay", "train", "L2 penalty; of adamw a decay beside the gradient, if not given 0.01", 0.0, number(0)),
        Option("--quantization", "train", "mixed precision in training and evaluation: bfloat16, on older GPUs float16; weights "
               "stay float32", False, None),
        Option("--val-fraction", "held out", "share of the training images that is held out and tested after each epoch", 0.0,
               number(0, below=1)),
        Option("--patience", "validation", "epochs without a better validation accuracy after which a phase of training ends; "
               "its best state is kept then", None, POSITIVE),
        Option("--compact", "compact", "train the pruned network without its dead units: the same function, in smaller layers",
               False, None),
        Option("--save-trace", "profile", "profile one inference step after training, into trace.json", False, None),
        Option("--checkpoint-every", "checkpoints", "epochs between checkpoints, 0 for none; default: each of 2 s or more, and "
               "whenever 10 s have passed", None, COUNT),
        Option("--tensorboard", "dense", "while training, write what TensorBoard shows into the run's folder", False, None),
        Option("--pruner", "prune", "pruning method", "rand", choices=pruners),
        Option("--compression", "prune", "log10 of total over kept prunable weights: density is 10^-C", None, COMPRESSION),
        Option("--density", "prune", "the same as kept over total", None, DENSITY),
        Option("--sparsity", "prune", "the same as 1 - density", None, SPARSITY),
        Option("--prune-epochs", "prune", "rounds of scoring; default: the method's (100 for synflow, else 1)", None, POSITIVE),
        Option("--compression-schedule", "prune", "densities of the rounds", DEFAULT, choices=tuple(SCHEDULES)),
        Option("--mask-scope", "prune", "rank all weights together or each layer's; methods with budgets for each layer, and "
               "--mask-distribution, rank each layer's", "global", choices=("global", "local")),
        Option("--mask-distribution", "prune", "budgets of the layers, in which the method's scores choose; default: by method",
               None, choices=tuple(DISTRIBUTIONS)),
        Option("--prune-dataset-ratio", "prune", "scoring images per class", 10, POSITIVE),
        Option("--prune-batch-size", "prune", "images per scoring step", 256, POSITIVE),
        Option("--prune-bias", "prunable", "prune biases too", False, None),
        Option("--prune-batchnorm", "prunable", "prune BatchNorm too", False, None),
        Option("--prune-residual", "prunable", "prune identity shortcuts too", False, None),
        Option("--prune-train-mode", "prune", "score in train mode", False, None),
        Option("--thop", "counting", "count multiply-adds by thop too, and name the layers where it differs", False, None),
        Option("--reinitialize", "ablations", "draw new weights after pruning", False, None),
        Option("--shuffle", "ablations", "permute each mask within its layer after pruning", False, None),
        Option("--invert", "prune", "remove the largest scores instead of the smallest", False, None),
        Option("--prune-amount", "levels", "share of the surviving weights that each level removes, instead of a compression",
               None, number(above=0, below=1)),
        Option("--rewind-epoch", "levels", "go back to the network after this epoch of the first level's training", 0, COUNT),
        Option("--no-rewind", "levels", "keep the weights: --post-epochs of fine-tuning after each level's pruning", False, None),
        Option("--update-interval", "updates", "training steps from one update of the masks to the next", 100, POSITIVE),
        Option("--update-end-fraction", "updates", "share of the training after which the masks stay", 0.75,
               number(above=0, high=1)),
        Option("--drop-fraction", "updates", "share of the active weights that the first update replaces", 0.3,
               number(above=0, high=1)),
        Option("--model-list", "lists", "networks", (), nargs="+", axis="model"),
        Option("--pruner-list", "pruner list", "pruning methods", (), choices=pruners, nargs="+", axis="pruner"),
        Option("--compression-list", "schedule lists", "compressions", (), COMPRESSION, nargs="+", axis="compression"),
        Option("--density-list", "lists", "densities", (), DENSITY, nargs="+", axis="density"),
        Option("--sparsity-list", "lists", "sparsities", (), SPARSITY, nargs="+", axis="sparsity"),
        Option("--prune-epoch-list", "schedule lists", "rounds of scoring", (), POSITIVE, nargs="+", axis="prune_epochs"),
        Option("--level-list", "levels", "numbers of levels, each level a training and a pruning", (), integer(1, 1000),
               nargs="+", axis="level"),
        Option("--ablate", "lists", "each cell as it is, with shuffled masks, new weights, inverted scores", (),
               choices=tuple(ABLATIONS), nargs="+", axis="ablate"),
        Option("--seed-list", "seed list", "seeds", (), LARGE, nargs="+", axis="seed"),
        Option("--for", "overrides", "an option for one pruner's cells, as mag:pre-epochs=200", (), override, nargs="+"),
        Option("--jobs", "grid", "processes that run cells, in turn on the CUDA devices there are", 1, integer(1, 1024)),
        Option("--dry-run", "grid", "print the cells and what is done; run and write nothing", False, None),
        Option("--launcher", "grid", "where cells run", "local", choices=("local", "slurm")),
        Option("--slurm-partition", "grid", "partition of the job array"),
        Option("--slurm-time", "grid", "minutes of a cell's job; a longer cell goes on in further jobs", 720, POSITIVE),
        Option("--slurm-memory", "grid", "memory of a cell, such as 16GB"),
        Option("--slurm-gpus", "grid", "GPUs of a cell", 0, COUNT),
        Option("--slurm-cpus", "grid", "CPU cores of a cell", 1, POSITIVE),
        Option("--slurm-option", "grid", "any other of sbatch's options, as account=vision", (), option_pair, nargs="+"),
        Option("--trace", "trace", "a trace of the PyTorch profiler, .json or .json.gz"),
        Option("--step", "trace", "number of the step in the trace; default: the last complete one", None, COUNT),
        Option("--run", "run", "folders of saved runs", (), nargs="+"),
        Option("--layer", "histogram", "layers or blocks to draw alone, by name, or all", (), nargs="+"),
        Option("--log-counts", "histogram", "logarithmic counts", False, None),
        Option("--bins", "histogram", "bins of a layer's weights", 60, integer(1, 1000)),
        Option("--layer-compression", "report", "compression whose layers and weights are shown; default: the middle one", None,
               COMPRESSION),
        Option("--checkpoint", "checkpoint", "a checkpoint file, ours or with weight_orig and weight_mask"),
        Option("--regrow-to", "regrow", "sparsity to regrow to", None, SPARSITY),
        Option("--regrow-fraction", "regrow", "the same as the share of all prunable weights that is regrown", None,
               number(above=0, high=1)),
        Option("--regrow-dense", "regrow", "the trained dense network, a file or a run's folder; default: the run's dense.pt"),
        Option("--regrow-reference", "regrow", "a less sparse network, whose weights come first in selection reference"),
        Option("--regrow-layers", "regrow", "layers that are regrown, by name, or all", ("all",), nargs="+"),
        Option("--regrow-ssim-batches", "regrow", "validation batches on which activations are compared", 20, POSITIVE),
        Option("--regrow-score-batches", "regrow", "training batches for saliencies and gradients", 50, POSITIVE),
        Option("--regrow-selection", "regrow choice", "which weights of a layer come back", "saliency", choices=SELECTIONS),
        Option("--regrow-init", "regrow choice", "what they are then", "zero", choices=INITS),
        Option("--regrow-finetune-epochs", "regrow choice", "epochs of fine-tuning after each step, also of the controls",
               40, COUNT),
        Option("--regrow-bn-recalibrate", "regrow choice", "new BatchNorm statistics before fine-tuning", False, None),
        Option("--regrow-allocation", "regrow search", "how many each layer gets", "proportional", choices=ALLOCATIONS),
        Option("--regrow-steps", "regrow search", "steps of regrowing and fine-tuning, the budget split evenly", 1, POSITIVE),
        Option("--regrow-episodes", "regrow search", "episodes of allocation rl", 100, POSITIVE),
        Option("--regrow-replay", "regrow search", "regrow what is in this regrow_masks.pt"),
        Option("--regrow-mini-epochs", "regrow mini", "epochs of fine-tuning in an episode", 1, COUNT),
        Option("--regrow-repeats", "regrow bench", "times that each method is timed", 3, POSITIVE),
        Option("--regrow-allocation-list", "regrow lists", "allocations", (), choices=ALLOCATIONS, nargs="+",
               axis="regrow_allocation"),
        Option("--regrow-selection-list", "regrow lists", "selections", (), choices=SELECTIONS, nargs="+",
               axis="regrow_selection"),
        Option("--regrow-init-list", "regrow lists", "initial values", (), choices=INITS, nargs="+",
               axis="regrow_init"),
        Option("--saliency-images", "saliency", "training images of each class", 256, POSITIVE),
        Option("--saliency-batch-size", "saliency", "images of one gradient", 64, POSITIVE),
        Option("--saliency-percentile", "saliency", "weights whose range over classes lies above this are biased", 90.0,
               number(0, below=100)),
        Option("--expid", "save", "name of the run's folder; default: made from the options", "", str),
        Option("--result-dir", "save", "where run folders are made", "Results/data"),
        Option("--no-save", "save", "write nothing", False, None),
        Option("--overwrite", "save", "start afresh where the folder exists", False, None),
        Option("--seed", "seed", "seed of every random number", 1, LARGE),
        Option("--gpu", "device", "number of the CUDA device; default: the first one", None, COUNT),
        Option("--no-cuda", "device", "use the CPU", False, None),
        Option("--deterministic", "device", "same numbers with any --jobs: deterministic algorithms (CUDA too), one CPU thread",
               False, None),
        Option("--verbose", "verbose", "print every epoch and round", False, None),
    )  # fmt: skip


def read_by(experiment: str) -> tuple[Option, ...]:
    """The options that `experiment` reads, in the order of the help."""
    reads = EXPERIMENTS[experiment].reads
    return tuple(o for o in table() if o.reader == "always" or o.reader in reads)


def is_axis(option: Option, experiment: str) -> bool:
    """Whether `option` given to `experiment` makes a grid: a list, unless the experiment is about that list itself."""
    return option.axis is not None and "grid" in EXPERIMENTS[experiment].reads


def pop_lists(given: dict[str, Any], experiment: str) -> dict[str, Any]:
    """Take the lists that make a grid out of `given`: option that varies -> its values."""
    return {o.axis: given.pop(o.dest) for o in read_by(experiment) if is_axis(o, experiment) and o.dest in given}


def defaults(experiment: str) -> dict[str, Any]:
    """What each option that a run of `experiment` has is when it is not given; a grid's own options are not among them."""
    own = {o.dest: o.default for o in read_by(experiment) if not is_axis(o, experiment) and o.dest != "for"}
    own |= EXPERIMENTS[experiment].own
    return own | ({"level": 1} if "levels" in EXPERIMENTS[experiment].reads else {})
