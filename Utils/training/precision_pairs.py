"""Mixed precision beside full precision: seconds of training steps and of inference, measured in turn in one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from Models.difference import copied
from Models.masking import Prunable, hold_masks
from Models.shapes import eval_mode, image_format
from Utils.base.errors import Refused
from Utils.compute.environment import device_text, load_average
from Utils.compute.graphs import Graphs
from Utils.compute.precision import Precision
from Utils.measure.inference_time import interleaved, paired_ratio, quartiles
from Utils.training.layout import in_layout
from Utils.training.loops import TrainingPass
from Utils.training.masked_network import MaskedNetwork
from Utils.training.optimizers import make_optimizer

PAIRS = 100
ENOUGH = 1.0  # seconds of one of the two measurements after which no turn begins
STEPS = {"cuda": 10}  # steps that are timed together, where one alone would be shorter than waiting for the device; else 1
WORDS = ("full", "mixed")


@dataclass
class _Copy:
    """A copy of the network that takes steps in one precision; its learning rate is 0, so that its weights stay."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    precision: Precision
    graphs: Graphs

    def train(self, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
        """Take `steps` steps of training on one batch, without the networks that train in other threads."""
        batches = [(images, labels)] * steps
        TrainingPass(self.model, self.optimizer, batches, precision=self.precision, graphs=self.graphs).alone()

    def infer(self, images: torch.Tensor) -> None:
        """Compute one batch as in evaluation."""
        with self.precision.computing(), self.precision.autocast(), torch.no_grad():
            self.model(images.contiguous(memory_format=image_format(self.model)))


def compare_precisions(network: MaskedNetwork, enough: float = ENOUGH) -> dict[str, Any]:
    """Measure training steps and inference of a network in full and in mixed precision.

    One of the two is the network's own precision, the other the one with or without `--quantization` on its device. Each has a
    copy of the network and an optimizer of the run. They take turns on the same batches (A B, B A). The network, its gradients
    and all random numbers stay as they are. With small networks it takes a second or two, with large ones seven calls of each.

    Returns:
        `full` and `mixed`, the texts of the two precisions; `train` and `inference`, each with `ratio` (seconds in mixed over
        seconds in full precision of each pair), `full_seconds` and `mixed_seconds` (all three as `median`, `q1`, `q3`), `pairs`
        and `batch_size`; `device`; `load`, the load average at `start` and `end`.

    Raises:
        Refused: the network is one of an experiment that does not train.
    """
    load = {"start": load_average()}
    options, data, device = network.options, network.data, network.device
    precisions = dict(zip(WORDS, _precisions(network), strict=True))
    cards = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cards), ExitStack() as open_layouts:
        with closing(data.train_batches(options.train_batch_size, options.seed, "post_train", 1)) as batches:
            images, labels = next(batches)
        with closing(data.test_batches(options.test_batch_size)) as batches:
            tested, _ = next(batches)
        copies = {name: open_layouts.enter_context(_copied(network, precision)) for name, precision in precisions.items()}
        steps = STEPS.get(device.type, 1)
        calls = {name: lambda batch, own=own: own.train(batch, labels, steps) for name, own in copies.items()}
        found = {"train": _summary(interleaved(calls, images, device, PAIRS, enough), len(images), steps)}
        for own in copies.values():
            open_layouts.enter_context(eval_mode(own.model))
        calls = {name: own.infer for name, own in copies.items()}
        found["inference"] = _summary(interleaved(calls, tested, device, PAIRS, enough), len(tested), 1)
    texts = {name: str(precision) for name, precision in precisions.items()}
    return {**texts, **found, "device": device_text(device), "load": load | {"end": load_average()}}


def _precisions(network: MaskedNetwork) -> tuple[Precision, Precision]:
    """Return full precision and mixed precision; one of them is the network's own."""
    options, own = network.options, network.precision
    if not options.reads("train"):
        raise Refused(f"--compare-precision: {options.experiment} trains no network; the precision is one of training")
    mixed = own.dtype != torch.float32
    other = Precision.of(replace(options, quantization=not mixed, precision=None), network.device)
    return (other, own.anew()) if mixed else (own.anew(), other)


@contextmanager
def _copied(network: MaskedNetwork, precision: Precision) -> Iterator[_Copy]:
    options = network.options
    model = copied(network.model)
    optimizer = make_optimizer(model, options.optimizer, 0.0, options.weight_decay)
    own = [Prunable(model.get_submodule(p.module_name), p.module_name, p.param) for p in network.prunables]
    hold_masks(optimizer, own)
    wanted = precision.scaler is None and bool(optimizer.defaults.get("fused")) and not options.no_graph
    with in_layout(model, optimizer, precision.layout):
        yield _Copy(model, optimizer, precision, Graphs(network.device, model, wanted=wanted))


def _summary(laps: dict[str, list[float]], batch_size: int, steps: int) -> dict[str, Any]:
    """Sum up the laps of both precisions, each of so many steps."""
    seconds = {f"{name}_seconds": quartiles([lap / steps for lap in laps[name]]) for name in WORDS}
    return {"ratio": paired_ratio(laps["mixed"], laps["full"]), **seconds, "pairs": len(laps["full"]), "batch_size": batch_size}
