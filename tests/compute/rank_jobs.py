"""Command lines that the tests of several processes run, and the networks of their `own.py`."""

from __future__ import annotations

OWN = """
import os, torch
from torch import nn

class Draws(nn.Module):
    def __init__(self, classes):
        super().__init__()
        torch.manual_seed(int(os.environ.get("RANK", 0)))
        self.unused, self.sometimes = nn.Linear(3, 3), nn.Linear(8, 8)
        self.a, self.b, self.norm, self.drop = nn.Linear(64, 8), nn.Linear(8, classes), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, x):
        x = self.norm(self.a(x.flatten(1)))
        if self.training and torch.rand(()) < 0.5:
            x = x + self.sometimes(x)
        return self.b(self.drop(x.relu()))

def draws(shape, classes):
    return Draws(classes)

class Fails(nn.Linear):
    def forward(self, x):
        if self.training and os.environ["RANK"] == "1":
            raise ValueError("no more")
        return super().forward(x.flatten(1))

def fails(shape, classes):
    return Fails(64, classes)
"""
SMALL = ["--dataset", "synthetic:1x8x8:3:65", "--pruner", "synflow", "--compression", "0.5", "--prune-epochs", "3", "--optimizer", "momentum",
         "--lr", "0.05", "--train-batch-size", "16", "--test-batch-size", "4"]  # fmt: skip
LIKE_ONE = {
    "fc": ["--model", "fc", "--pre-epochs", "1", "--post-epochs", "3", "--lr-drops", "2"],
    "one": ["--model", "fc", "--train-batch-size", "1", "--post-epochs", "1", "--dataset", "synthetic:1x8x8:3:15"],
    "conv": ["--model", "conv", "--post-epochs", "3", "--dataset", "synthetic:3x8x8:3:65", "--augment", "crop-flip"],
    "levels": ["--experiment", "multishot", "--model", "fc", "--level-list", "2", "--pre-epochs", "1", "--post-epochs", "2"],
    "held": ["--model", "fc", "--pruner", "erk", "--post-epochs", "9", "--val-fraction", "0.2", "--patience", "2", "--optimizer", "adamw",
             "--lr", "0.01", "--lr-schedule", "cosine", "--lr-warmup", "1"],
}
DRAWS = ["--model", "own.py:draws", "--pre-epochs", "2", "--post-epochs", "3", "--checkpoint-every", "1", "--pruner", "mag"]
JOBS = {
    **LIKE_ONE,
    "rigl": ["--model", "fc", "--pruner", "rigl", "--update-interval", "2", "--post-epochs", "4"],
    "set": ["--model", "fc", "--pruner", "set", "--update-interval", "2", "--post-epochs", "4"],
    "batchnorm": ["--model", "resnet20", "--post-epochs", "2", "--dataset", "synthetic:3x8x8:3:65", "--tensorboard"],
    "whole": [*DRAWS, "--result-dir", "elsewhere"],
    "again": [*DRAWS, "--expid", "killed"],
    "finished": [*LIKE_ONE["fc"], "--expid", "fc"],
    "refused": [*LIKE_ONE["fc"], "--expid", "fc", "--lr", "0.1"],
    "failed": ["--model", "own.py:fails"],
    "diverged": [*LIKE_ONE["fc"], "--lr", "1e38"],
    "empty": ["--model", "fc", "--compression", "20"],
}


def job(name):
    return [*SMALL, "--expid", name, *JOBS[name]]
