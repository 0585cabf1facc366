"""The flags and methods of other pruning tools, with ours: a refusal of one of them names its counterpart here."""

from __future__ import annotations

from collections.abc import Iterable

from Utils.base.text import did_you_mean

BATCHES = "--train-batch-size, --test-batch-size or --prune-batch-size"
LEVELS = "--experiment multishot --level-list"
# Flag elsewhere, in lower case and with dashes -> the flags that do the same here.
FLAGS = {
    "--amount": "--sparsity or --prune-amount", "--arch": "--model", "--batch": BATCHES, "--batch-size": BATCHES,
    "--data-path": "--data-dir", "--epochs": "--post-epochs or --pre-epochs", "--exp-name": "--expid",
    "--init-strategy": "--regrow-init", "--iter-end": LEVELS, "--iter-start": LEVELS, "--learning-rate": "--lr",
    "--m-name": "--model", "--manual-seed": "--seed", "--max-epochs": "--post-epochs or --pre-epochs",
    "--method": "--pruner", "--method-list": "--pruner-list", "--methods": "--pruner-list", "--model-name": "--model",
    "--momentum": "--optimizer momentum", "--net": "--model", "--num-epochs": "--post-epochs or --pre-epochs",
    "--num-runs": "--seed-list", "--num-workers": "--workers", "--output-dir": "--result-dir", "--pruners": "--pruner-list",
    "--pruning-method": "--pruner", "--ratio": "--sparsity", "--ratio-list": "--sparsity-list", "--save-dir": "--result-dir",
    "--seeds": "--seed-list", "--wd": "--weight-decay",
}  # fmt: skip
METHODS = {"l1": "mag", "magnitude": "mag", "random": "rand", "synaptic-flow": "synflow"}  # name elsewhere -> name here


def no_flag(flag: str, flags: Iterable[str]) -> str:
    """Return the refusal of an unknown flag, with its counterpart among `flags`, or else the most similar one."""
    plain = flag.lower().replace("_", "-")
    same = f"did you mean {FLAGS[plain]}?" if plain in FLAGS else did_you_mean(plain, flags).strip()
    return f"{flag} is no flag: {same or '--help-all shows them all'}"


def counterpart(word: str, choices: Iterable[str]) -> str | None:
    """Return the method that another tool calls `word`, if it is one of `choices`."""
    found = METHODS.get(word.lower().replace("_", "-"))
    return found if found in choices else None
