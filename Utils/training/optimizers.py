"""Optimizers, and the learning rate over a phase, set once an epoch (`--lr-schedule`, `--lr-drops`, `--lr-warmup`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiStepLR

from Models.masking import trainable_parameters
from Utils.options.groups.training_options import TrainingOptions


def make_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """Make the optimizer of a training phase over all trainable parameters.

    `sgd`, `adam`, `adamw` and `rms` (RMSprop) are torch's with its defaults; `momentum` is SGD with Nesterov momentum 0.9.
    """
    parameters = trainable_parameters(model)
    common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
    fused = {"fused": True} if all(p.device.type in ("cpu", "cuda") for p in parameters) else {}
    makers: dict[str, Callable[[], torch.optim.Optimizer]] = {
        "sgd": lambda: torch.optim.SGD(parameters, **common, **fused),
        "momentum": lambda: torch.optim.SGD(parameters, momentum=0.9, nesterov=True, **common, **fused),
        "adam": lambda: torch.optim.Adam(parameters, **common, **fused),
        "adamw": lambda: torch.optim.AdamW(parameters, **common, **fused),
        "rms": lambda: torch.optim.RMSprop(parameters, **common),
    }
    if name not in makers:
        raise ValueError(f"optimizer {name!r}: choose from {', '.join(makers)}")
    return makers[name]()


def make_schedule(optimizer: torch.optim.Optimizer, options: TrainingOptions, epochs: int) -> LRScheduler:
    """Make the schedule of a phase of `epochs` epochs.

    `steps` is torch's MultiStepLR. `cosine` falls from `--lr` towards 0 over the epochs after the warm-up (Loshchilov and Hutter
    2017, arXiv 1608.03983, equation 5, without restarts). See `factor` for the formulas.
    """
    schedule, warmup, drops, rate = options.lr_schedule, options.lr_warmup, options.lr_drops, options.lr_drop_rate
    if schedule == "steps" and not warmup:
        return MultiStepLR(optimizer, drops, rate)
    return LambdaLR(optimizer, lambda done: factor(schedule, done, epochs, warmup, drops, rate))


def factor(schedule: str, done: int, epochs: int, warmup: int, drops: Sequence[int] = (), rate: float = 0.1) -> float:
    """Return the learning rate of the epoch that begins after `done` epochs, as a share of `--lr`.

    While done < warmup it is (done + 1) / (warmup + 1). After that, `cosine` gives

        (1 + cos(pi (done - warmup) / (epochs - warmup))) / 2

    `steps` gives `rate` to the power of the number of `drops` up to `done`, in the warm-up times the warm-up's factor.
    """
    rising = min(1.0, (done + 1) / (warmup + 1))
    if schedule == "steps":
        return rising * rate ** sum(drop <= done for drop in drops)
    progress = (done - warmup) / max(epochs - warmup, 1)
    return rising if done < warmup else (1.0 + math.cos(math.pi * min(progress, 1.0))) / 2.0
