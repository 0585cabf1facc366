"""One run as a textbook program: `python -m benchmarks.single --pruner snip --compression 1`.

Train `fc` densely on MNIST, prune it, train what is left, and print what came of it. A shell loop starts this program once
for each cell of a grid: that is the textbook's side of the row `grid`. Nothing is saved.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks import rows, textbook
from Utils.options.types import Options

PRUNERS = ("rand", "mag", "snip", "grasp", "synflow")
SYNFLOW_ROUNDS = 100
SCORING_IMAGES = 100  # ten for each class
SHAPE = (1, 28, 28)


def train_and_evaluate(model: nn.Module, epochs: int, train: DataLoader, test: DataLoader) -> list[tuple[float, float, float]]:
    """Evaluate, then train for `epochs` with Adam, evaluating after each; return (loss, top-1, top-5) of each evaluation."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    results = [textbook.evaluate(model, test)]
    for epoch in range(epochs):
        loss = textbook.train_epoch(model, optimizer, train)
        results.append(textbook.evaluate(model, test))
        print(f"epoch {epoch + 1}/{epochs}: train loss {loss:.4f}, top-1 {results[-1][1]:.2f} %", flush=True)
    return results


def prune(model: nn.Module, pruner: str, density: float, batches: DataLoader) -> None:
    """Set the masks: SynFlow in 100 rounds, the others in one."""
    if pruner == "synflow":
        return textbook.synflow(model, density, SYNFLOW_ROUNDS, SHAPE)
    pairs = textbook.prunable(model)
    if pruner == "rand":
        scores = [torch.randn_like(w) for _, w in pairs]
    elif pruner == "mag":
        scores = [w.detach().abs() for _, w in pairs]
    else:
        scores = getattr(textbook, pruner)(model, list(batches))
    textbook.keep(scores, [m for m, _ in pairs], density)


def run(options: Options) -> dict[str, object]:
    """Run the whole program except its last lines of output.

    Return the weights kept in each layer, the number of evaluations of both phases, and the last accuracy.
    """
    torch.manual_seed(1)
    scoring = textbook.mnist_loader(True, 256, torch.randperm(60000)[:SCORING_IMAGES].tolist())
    train, test = textbook.mnist_loader(True, 64), textbook.mnist_loader(False, 256)
    model = textbook.masked(rows.network("fc"))
    pre = train_and_evaluate(model, options.pre_epochs, train, test)
    prune(model, options.pruner, 10.0**-options.compression, scoring)
    post = train_and_evaluate(model, options.post_epochs, train, test)
    kept = [int(mask.sum()) for mask, _ in textbook.prunable(model)]
    return {"kept": kept, "evaluations": [len(pre), len(post)], "top1": post[-1][1]}


def main(argv: Sequence[str] | None = None) -> None:
    """Run once; the last line printed is JSON (see `run`)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.single", description=__doc__)
    parser.add_argument("--pruner", choices=PRUNERS, required=True)
    parser.add_argument("--compression", type=float, required=True)
    parser.add_argument("--pre-epochs", type=int, default=0)
    parser.add_argument("--post-epochs", type=int, default=2)
    results = run(parser.parse_args(argv))
    print(f"{sum(results['kept'])} weights kept, top-1 {results['top1']:.2f} %")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
