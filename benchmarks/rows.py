"""The rows of the comparison, each as one piece of work for the project (`ours`) and for the textbook.

The function of a row prepares networks and data in memory, and returns the work to time, which may return a result to compare.
`ROWS` has the unit of the numbers and the wanted ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import textbook
from benchmarks.images import scoring_batch
from Utils.options.types import Options

Work = Callable[[], Any]
CIFAR = (3, 32, 32)


@dataclass(frozen=True)
class Row:
    """One line of the table. The work is `count` `unit`s long; `target` is the wanted ratio textbook / ours."""

    title: str
    target: float
    unit: str = "s"
    count: int = 1


ROWS = {
    "epoch": Row("one epoch of training plus test evaluation, fc on MNIST, batch 64, Adam", 6),
    "batches": Row("a training batch of CIFAR-10's size delivered (crop, flip, normalise), batch 64", 15, "ms", 50),
    "synflow": Row("SynFlow, 100 rounds, lottery vgg16, compression 1", 4),
    "snip": Row("SNIP scoring, lottery vgg16, 100 images", 1.5),
    "grasp": Row("GraSP scoring, lottery vgg16, 100 images", 1.5),
    "step": Row("one training step, ResNet20, batch 64, float32, Adam", 1.3, "ms", 5),
    "step-bfloat16": Row("the same step in bfloat16 autocast (`--quantization`), against float32", 1.6, "ms", 5),
    "evaluate": Row("evaluation of a pruned network on the test set, conv on MNIST, compression 1", 1.2),
}


def network(name: str) -> torch.nn.Module:
    """Return one of the project's networks, drawn as `--seed 1` draws it."""
    from Models import registry

    kind, shape = ("default", (1, 28, 28)) if name in ("fc", "conv") else ("lottery", CIFAR)
    torch.manual_seed(1)
    torch.randperm(60000 if kind == "default" else 50000)
    return registry.build(name, kind, shape, 10)


def _problem(name: str, batches: list | None = None) -> Any:
    from Models.masking import add_masks
    from Pruners._shared.problem import Problem

    model = network(name)
    shape = (1, 28, 28) if name in ("fc", "conv") else CIFAR
    return Problem(model, add_masks(model), shape, read_batches=None if batches is None else lambda: batches)


def _mnist() -> Any:
    from Utils.data.open_set import open_dataset

    data = open_dataset("mnist", "Data", download=False)
    data.load()
    return data


def ours(row: str) -> Work:
    """Return the project's side of a row, with as many threads as `main.py` would use for its network."""
    from Utils.training.set_up import use_threads

    name = {"epoch": "fc", "evaluate": "conv", "step": "resnet20", "step-bfloat16": "resnet20"}.get(row, "vgg16")
    use_threads(network(name), Options(train_batch_size=64), (1, 28, 28) if name in ("fc", "conv") else CIFAR)
    return _ours(row)


def _ours(row: str) -> Work:
    from Models.masking import hold_masks
    from Pruners._shared.loop import prune_loop
    from Utils.compute.precision import Precision
    from Utils.data.batches import TensorSplit
    from Utils.training.loops import evaluate, train_epoch
    from Utils.training.optimizers import make_optimizer

    if row == "epoch":
        data, problem = _mnist(), _problem("fc")
        optimizer = make_optimizer(problem.model, "adam", 0.001, 0.0)
        hold_masks(optimizer, problem.prunables)

        def epoch() -> float:
            train_epoch(problem.model, optimizer, data.train_batches(64, 1, "post_train", 1)).item()
            return evaluate(problem.model, data.test_batches(256))[1]

        return epoch
    if row == "batches":
        from benchmarks.images import CIFAR_STATISTICS, cifar_like

        images = torch.from_numpy(cifar_like().pixels).permute(0, 3, 1, 2).contiguous()
        split = TensorSplit(images, torch.from_numpy(cifar_like().labels), *CIFAR_STATISTICS, "crop-flip")
        return lambda: sum(1 for _ in split.train_batches(64, 1, "post_train", 1))
    if row in ("step", "step-bfloat16"):
        precision = Precision(torch.device("cpu"), torch.float32 if row == "step" else torch.bfloat16)
        problem = _problem("resnet20")
        optimizer = make_optimizer(problem.model, "adam", 0.001, 0.0)
        hold_masks(optimizer, problem.prunables)
        batch = [part[:64] for part in scoring_batch()]
        return lambda: train_epoch(problem.model, optimizer, [batch] * 5, precision=precision).item()
    if row == "evaluate":
        data, problem = _mnist(), _problem("conv")
        prune_loop(problem, _pruner("mag"), 0.1, rounds=1)
        return lambda: evaluate(problem.model, data.test_batches(256))
    if row == "synflow":

        def flow() -> list[int]:
            problem = _problem("vgg16")
            prune_loop(problem, _pruner("synflow"), 0.1, rounds=100)
            return [int(m.sum()) for m in problem.masks]

        return flow
    problem = _problem("vgg16", [scoring_batch()])
    return lambda: _score(problem, row)


def _pruner(name: str) -> Any:
    import Pruners

    return Pruners.load(name)()


def _score(problem: Any, name: str) -> None:
    with problem.scoring(0):
        _pruner(name).score(problem)


def by_the_book(row: str) -> Work:
    """Return the textbook's side of a row."""
    if row == "epoch":
        model = textbook.masked(network("fc"))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
        train, test = textbook.mnist_loader(True, 64), textbook.mnist_loader(False, 256)

        def epoch() -> float:
            textbook.train_epoch(model, optimizer, train)
            return textbook.evaluate(model, test)[1]

        return epoch
    if row == "batches":
        loader = textbook.cifar_loader(64)
        return lambda: sum(1 for _ in loader)
    if row in ("step", "step-bfloat16"):
        model = textbook.masked(network("resnet20"))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
        batch = [part[:64] for part in scoring_batch()]
        return lambda: textbook.train_epoch(model, optimizer, [batch] * 5)
    if row == "evaluate":
        model = textbook.masked(network("conv"))
        pairs = textbook.prunable(model)
        textbook.keep([w.detach().abs() for _, w in pairs], [m for m, _ in pairs], 0.1)
        loader = textbook.mnist_loader(False, 256)
        return lambda: textbook.evaluate(model, loader)
    if row == "synflow":

        def flow() -> list[int]:
            model = textbook.masked(network("vgg16"))
            textbook.synflow(model, 0.1, 100, CIFAR)
            return [int(m.sum()) for m, _ in textbook.prunable(model)]

        return flow
    model = textbook.masked(network("vgg16"))
    return lambda: getattr(textbook, row)(model, [scoring_batch()])
