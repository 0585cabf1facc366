"""The last task: the settings of the experiments in sentences, and what differs within the tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from Pruners import DENSE
from Utils.base.errors import Refused
from Utils.base.text import counted
from Utils.data.catalogue import find
from Utils.report.assignment.subjects import Subject, Subjects, rounds_said
from Utils.report.assignment.words import by_method, method_name, several
from Utils.report.blocks import Block, Heading, Note, Warnings
from Utils.report.report_run import Run

OPTIMIZERS = {"adam": "Adam", "sgd": "SGD", "momentum": "SGD with momentum", "rms": "RMSprop"}
SAID = ("pre epochs", "prune epochs")  # differences of methods that the settings tell
AUGMENTED = {"none": "without augmentation", "crop-flip": "with random crops and horizontal flips"}


def explain(subjects: Subjects) -> list[Block]:
    """Make the blocks of the task."""
    blocks: list[Block] = [Heading("1. Settings of the experiments")]
    blocks += [Note(_of_subject(subject)) for subject in subjects.all]
    runs = [run for run in subjects.runs if run.done]
    blocks.append(Note(f"{_seeds(runs)} {_program(runs)}"))
    differing = [
        f"{subject.name}: not the same for all runs of its tables: {line}."
        for subject in subjects.all
        for line in subject.group_made.differences
        if not line.startswith(SAID)
    ]
    return blocks + ([Warnings(differing)] if differing else [])


def _of_subject(subject: Subject) -> str:
    runs = [run for run in subject.group_made.all if run.done]
    if not runs:
        return f"{subject.name}: no run has finished."
    sizes = {run.summary.get("params_total") for run in runs} - {None}
    size = f" ({several(f'{n:,}' for n in sorted(sizes))} parameters)" if sizes else ""
    words = [
        f"{subject.name}{size}: {_augmentation(runs)}. Trained by {_of(runs, 'optimizer', _optimizer)} with learning rate "
        f"{_of(runs, 'lr', _number)}{_schedule(runs)}, batches of {_of(runs, 'train_batch_size', str)} images and weight decay "
        f"{_of(runs, 'weight_decay', _number)}, for {_epochs(runs, 'post_epochs')} after pruning.",
        f"Epochs of training before pruning: {by_method(_pre(runs))}." if _pre(runs) else "",
        _pruning([run for run in runs if run["pruner"] != DENSE]),
    ]
    if subject.mixed is not None:
        methods = several(map(method_name, subject.mixed.methods))
        words.append(f"{methods} was trained in mixed precision (AMP) too, all else equal.")
    return " ".join(filter(None, words))


def _of(runs: Sequence[Run], option: str, word: Callable[[Any], str]) -> str:
    """Return the value of an option, or each value with the methods that have it."""
    pairs = list(dict.fromkeys((method_name(str(run["pruner"])), word(run[option])) for run in runs))
    return by_method(pairs)


def _optimizer(value: Any) -> str:
    return OPTIMIZERS.get(str(value), str(value))


def _number(value: Any) -> str:
    return "the usual one" if value is None else f"{value:.6g}"


def _epochs(runs: Sequence[Run], option: str) -> str:
    counts = _of(runs, option, lambda value: str(value or 0))
    return f"{counts} epochs" if counts != "1" else "1 epoch"


def _pre(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Return the methods with their epochs before pruning; none if no run has any."""
    pairs = [(method_name(str(run["pruner"])), str(run["pre_epochs"] or 0)) for run in runs if run["pruner"] != DENSE]
    return list(dict.fromkeys(pairs)) if any(value != "0" for _, value in pairs) else []


def _schedule(runs: Sequence[Run]) -> str:
    first = runs[0]
    if str(first["lr_schedule"] or "steps") != "steps":
        return f" ({first['lr_schedule']} schedule)"
    drops = first["lr_drops"] or ()
    return f" (times {first['lr_drop_rate']:g} after epoch {several(drops)})" if drops else " (constant)"


def _augmentation(runs: Sequence[Run]) -> str:
    """Say how training images are changed."""
    names = []
    for run in runs:
        name = run["augment"]
        if name is None:
            try:
                _, facts = find(str(run["dataset"]))
            except Refused:
                facts = None
            name = facts.augment if facts is not None else ""
        names.append(
            AUGMENTED.get(str(name), f"with augmentation {name}")
            if name
            else "with the augmentation usual for images of their size"
        )
    test = "the default training and test images"
    held = {run["val_fraction"] or 0.0 for run in runs}
    held_out = f", of which a share of {max(held):g} is held out for validation" if max(held) else ""
    return f"{test}{held_out}, training images {several(names, 'or')}"


def _pruning(runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    scope = several([str(run["mask_scope"]) for run in runs], "or")
    ratio, batch = (several([str(run[name]) for run in runs], "or") for name in ("prune_dataset_ratio", "prune_batch_size"))
    rounds = rounds_said([run for run in runs if run.done])
    other = f" {rounds}; the other methods: 1 round." if rounds else ""
    return f"Pruning is {scope}; methods that need data score {ratio} images per class in batches of {batch}.{other}"


def _seeds(runs: Sequence[Run]) -> str:
    seeds = sorted({int(run["seed"] or 0) for run in runs})
    if len(seeds) < 2:
        return f"Every number is of one run, with seed {several(seeds)}: nothing is known of the spread."
    over = f"{counted(len(seeds), 'seed')} ({several(seeds)})"
    return f"Numbers are means ± standard deviations over {over}, where a cell says no other number."


def _program(runs: Sequence[Run]) -> str:
    commits = [str(run["commit"] or "unknown")[:12] + (" (modified)" if run["dirty"] else "") for run in runs]
    versions = [f"PyTorch {v['torch']}" for run in runs if isinstance(v := run["versions"], dict) and v.get("torch")]
    scales = {run["scale"] for run in runs} - {None, 1}
    scaled = f" All epochs are those of the assignment times {several(sorted(scales))}." if scales else ""
    return f"Made with {several(versions) or 'PyTorch'}, commit {several(commits)} of the program.{scaled}"
