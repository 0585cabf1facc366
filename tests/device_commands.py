"""Command lines of every experiment that trains or scores, small enough for any device."""

from __future__ import annotations

import Pruners

DATA = ["--dataset", "synthetic:3x8x8:3:40", "--post-epochs", "1", "--model", "conv", "--train-batch-size", "16"]
PRUNERS = [name for name in Pruners.names() if name != "dense"]
_PRUNER = [*DATA, "--prune-epochs", "2", "--density", "0.3", "--update-interval", "2", "--deterministic", "--expid", "x"]
_SINGLESHOT = [
    ["--model", "resnet20", "--pruner", "snip", "--augment", "crop-flip", "--optimizer", "momentum"],
    ["--pruner", "grasp", "--image-size", "12", "--augment", "crop-flip", "--save-trace", "--optimizer", "rms"],
    ["--pruner", "synflow", "--prune-epochs", "5", "--density", "0.2", "--compact", "--pre-epochs", "1", "--val-fraction", "0.2",
     "--patience", "1", "--prune-train-mode", "--prune-bias"],
]  # fmt: skip
LEVELS = ["--experiment", "multishot", *DATA, "--pruner", "synflow", "--prune-epochs", "5", "--pre-epochs", "2", "--rewind-epoch", "1",
          "--level-list", "2", "--density", "0.4", "--compact"]  # fmt: skip
GRID = [*DATA, "--pruner-list", "rand", "mag", "--ablate", "none", "shuffle", "reinit", "--density", "0.5", "--expid", "g"]
OF_SAVED_RUNS = ("evaluate", "time", "histogram", "compact", "saliency")
SPARSE = [*DATA, "--pruner", "mag", "--pre-epochs", "1", "--sparsity", "0.9", "--expid", "sparse"]
_ONE = ["--regrow-finetune-epochs", "1"]
REGROWTH = [
    ["regrow", *_ONE, "--regrow-to", "0.7", "--regrow-allocation-list", "ssim", "rl", "--regrow-episodes", "1", "--regrow-init",
     "original", "--expid", "r"],
    ["regrow", *_ONE, "--regrow-to", "0.7", "--regrow-selection-list", "gradient", "random", "--regrow-init", "kaiming", "--expid", "s"],
    ["regrow-layers", *_ONE, "--regrow-to", "0.85"],
    ["regrow-bench", "--regrow-to", "0.85", "--regrow-repeats", "1"],
]  # fmt: skip
_STUDIES = [
    ["prune", "--pruner", "synflow", "--prune-epochs", "2"],
    ["layer-conservation", "--pruner-list", "snip", "synflow"],
    ["unit-conservation", "--pruner-list", "snip", "synflow"],
    ["schedule-conservation", "--prune-epoch-list", "1", "2", "--compression-list", "0.5"],
    ["imp-conservation", "--post-epochs", "1"],
]
_OF_STUDIES = ["--dataset", "synthetic:3x8x8:3:40", "--model", "conv", "--expid", "x"]
# Name: (words, the folder of the run that they make).
COMMANDS = {
    **{name: ([*_PRUNER, "--pruner", name], "singleshot/x") for name in PRUNERS},
    **{" ".join(words[:4]): ([*DATA, *words, "--expid", "x"], "singleshot/x") for words in _SINGLESHOT},
    **{words[0]: (["--experiment", *words, *_OF_STUDIES], f"{words[0]}/x") for words in _STUDIES},
}
