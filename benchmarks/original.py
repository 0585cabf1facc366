"""The same rows with a checkout of the original Synaptic-Flow (`--against DIR`), in its own process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from benchmarks.images import Images, cifar_like, mnist, scoring_batch

CIFAR = (3, 32, 32)


def _dataset(images: Images) -> Callable[..., Any]:
    """Return a stand-in for torchvision's dataset classes that does the same for each image, without files."""

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, transform: Callable[[Any], torch.Tensor]) -> None:
            self.transform = transform

        def __len__(self) -> int:
            return len(images.labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.transform(images.picture(index)), int(images.labels[index])

    return Pictures


class Original:
    """The checkout's modules, imported from `folder`."""

    def __init__(self, folder: str) -> None:
        sys.path.insert(0, str(Path(folder).resolve()))
        import train

        from Utils import generator, load

        self.train, self.load, self.generator = train, load, generator
        load.datasets = SimpleNamespace(
            MNIST=lambda root, train, download, transform: _dataset(mnist(train))(transform),
            CIFAR10=lambda root, train, download, transform: _dataset(cifar_like())(transform),
        )

    def network(self, name: str) -> nn.Module:
        """Return a network drawn as with `--seed 1`."""
        kind, shape = ("default", (1, 28, 28)) if name in ("fc", "conv") else ("lottery", CIFAR)
        torch.manual_seed(1)
        torch.randperm(60000 if kind == "default" else 50000)
        return self.load.model(name, kind)(shape, 10)

    def pruner(self, name: str, model: nn.Module) -> Any:
        """Return a pruner over the network's masked parameters."""
        return self.load.pruner(name)(self.generator.masked_parameters(model))

    def work(self, row: str) -> Callable[[], Any]:
        """Return the original's side of a row."""
        loss = nn.CrossEntropyLoss()
        if row == "batches":
            loader = self.load.dataloader("cifar10", 64, True, 0)
            return lambda: sum(1 for _ in loader)
        if row in ("epoch", "step", "step-bfloat16"):
            model = self.network("fc" if row == "epoch" else "resnet20")
            optimizer = torch.optim.Adam(self.generator.parameters(model), lr=0.001)
            if row != "epoch":
                batches = _Batches([[part[:64] for part in scoring_batch()]] * 5)
                return lambda: self.train.train(model, loss, optimizer, batches, "cpu", 0, False)
            data = self.load.dataloader("mnist", 64, True, 0)
            test = self.load.dataloader("mnist", 256, False, 0)

            def epoch() -> float:
                self.train.train(model, loss, optimizer, data, "cpu", 0, False)
                return self.train.eval(model, loss, test, "cpu", False)[1]

            return epoch
        if row == "evaluate":
            model = self.network("conv")
            pruner = self.pruner("mag", model)
            pruner.score(model, loss, None, "cpu")
            pruner.mask(0.1, "global")
            loader = self.load.dataloader("mnist", 256, False, 0)
            return lambda: self.train.eval(model, loss, loader, "cpu", False)
        if row == "synflow":
            return self._synflow
        model = self.network("vgg16")
        model.eval()
        pruner = self.pruner(row, model)
        return lambda: pruner.score(model, loss, [scoring_batch()], "cpu")

    def _synflow(self) -> list[int]:
        model = self.network("vgg16")
        model.eval()
        pruner = self.pruner("synflow", model)
        for k in range(100):
            pruner.score(model, None, [(torch.zeros(1, *CIFAR), None)], "cpu")
            pruner.mask(0.1 ** ((k + 1) / 100), "global")
        return [int(m.sum()) for m, _ in pruner.masked_parameters]


class _Batches(list):
    """A list of batches that has a `dataset` to count, as a loader does."""

    @property
    def dataset(self) -> range:
        return range(sum(len(y) for _, y in self))
