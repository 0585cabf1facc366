"""`--list`: the tables of pruners, models, datasets and experiments."""

from __future__ import annotations

import pandas as pd

import Pruners
from Models import registry
from Utils.data.catalogue import describe
from Utils.options.experiments import EXPERIMENTS


def _pruners() -> pd.DataFrame:
    rows = []
    for name in Pruners.names():
        pruner = Pruners.load(name)
        rows.append((name, pruner.formula, "scoring images" if pruner.needs_data else "none", pruner.rounds, pruner.source))
    return pd.DataFrame(rows, columns=["pruner", "score (the largest stay)", "data", "rounds", "source"])


def _models() -> pd.DataFrame:
    table = pd.DataFrame(registry.describe(), columns=["class", "model", "parameters"])
    shapes = {c: f"{'x'.join(map(str, shape))}, {classes} classes" for c, (shape, classes) in registry.NATURAL.items()}
    return table.assign(**{"counted for": table["class"].map(shapes)})


def _experiments() -> pd.DataFrame:
    return pd.DataFrame([(n, e.summary) for n, e in EXPERIMENTS.items()], columns=["experiment", "what it does"])


def _datasets() -> pd.DataFrame:
    return pd.DataFrame(describe())


def print_list(what: str) -> None:
    """Print the table of `pruners`, `models`, `datasets` or `experiments`."""
    makers = {"pruners": _pruners, "models": _models, "datasets": _datasets, "experiments": _experiments}
    print(makers[what]().to_string(index=False, justify="left"))
    if what == "models":
        print("--model-class torchvision takes any torchvision classifier; --model FILE.py:FUNCTION a network of your own.")
