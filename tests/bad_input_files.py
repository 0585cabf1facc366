"""The folder that the lines of `tests/bad_inputs/` run in: files that are empty, binary, foreign or malicious, and runs."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import torch
import traces
from malicious import Malicious
from trees import make_tree, save

import main

NET = '''
import torch
from torch import nn

NUMBER = 3

class Net(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.layer, self.act = nn.Linear(64, 3), act

    def forward(self, x):
        return self.act(self, self.layer(x.flatten(1)))

def filled(value):
    net = flat((1, 8, 8), 3)
    nn.init.constant_(net[1].weight, value)
    return net

def fail(net, y):
    if net.training and torch.is_grad_enabled():
        1 / 0
    return y

def flat(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU(), nn.Linear(5, classes))
def one(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
def nothing(shape, classes): return None
def raises(shape, classes): raise KeyError("first\\nsecond")
def no_arguments(): return None
def empty(shape, classes): return nn.Sequential(nn.Flatten())
def wrong_classes(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))
def wrong_input(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(63, classes))
def pair(shape, classes): return Net(lambda net, y: (y, y))
def huge(shape, classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, 1 << 45))
def nan(shape, classes): return filled(float("nan"))
def fails_in_training(shape, classes): return Net(fail)
def frozen(shape, classes): return flat(shape, classes).requires_grad_(False)
'''
EVIL = Malicious(os.mkdir, "PWNED")
PART = '[[part]]\nname = "a"\n'
TEXTS = {
    "net.py": NET, "empty.py": "", "nul.py": "x = 1\0\n", "broken.py": "x = 1\ny = = 2\n", "imports.py": "import nowhere_at_all\n",
    "exits.py": "import sys\nsys.exit(0)\n", "deep.py": "def f(*args):\n    return f(*args)\n", "plain.txt": "plain text\n",
    "empty.pt": "", "empty.toml": "", "deep.json": "[" * 100_000,
    "unknown.toml": 'colour = "red"\n', "flag.toml": f"{PART}nonsense = 1\n", "value.toml": f"{PART}lr = -1\n",
    "table.toml": f"{PART}lr = {{a = 1}}\n", "name.toml": '[[part]]\nname = "../x"\n', "twice.toml": PART + PART,
    "nul.toml": f'{PART}model = "a\\u0000b"\n',
}  # fmt: skip
RUN = ["--dataset", "synthetic:1x8x8:3:60", "--compression", "0.5", "--pre-epochs", "1", "--post-epochs", "1", "--expid", "run"]


def files(folder: Path) -> dict[str, int]:
    """Every file and folder, and when it was changed."""
    return {str(path): path.lstat().st_mtime_ns for path in [folder, *folder.rglob("*")] if "__pycache__" not in path.parts}


def make_files(folder: Path) -> None:
    """Fill `folder`, which is the working directory."""
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    binary = bytes(range(256)) * 4
    for name in ("binary.bin", "binary.py", "binary.toml"):
        (folder / name).write_bytes(binary)
    (folder / "latin.py").write_bytes(b"x = 'caf\xe9'\n")
    (folder / "evil.json.gz").write_bytes(gzip.compress(b"[]")[:-6])
    for name in ("folder", "folder.py", "folder.toml"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe")
    torch.save({"weight": torch.ones(2)}, folder / "plain.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({"weight": EVIL}, folder / "evil.pt")
    traces.write(folder / "trace.json", [traces.step(3, 0, 100), traces.convolution(10, 50)])
    _make_images(folder / "images")
    _make_runs(folder)


def _make_images(images: Path) -> None:
    for name in ("emptyclass", "notimage", "emptyimage", "cut", "newclass", "imagefolder"):
        make_tree(images / name)
    (images / "noclass" / "train").mkdir(parents=True)
    (images / "noclass" / "test").mkdir()
    shutil.rmtree(images / "emptyclass" / "train" / "bee")
    (images / "emptyclass" / "train" / "bee").mkdir()
    for name, content in (("notimage", b"no image"), ("emptyimage", b"")):
        (images / name / "train" / "ant" / "0.png").write_bytes(content)
    whole = (images / "cut" / "train" / "ant" / "0.png").read_bytes()
    (images / "cut" / "train" / "ant" / "0.png").write_bytes(whole[: len(whole) // 2])
    (images / "imagefolder" / "train" / "ant" / "0.png").unlink()
    (images / "imagefolder" / "train" / "ant" / "0.png").mkdir()
    save(images / "newclass" / "test" / "cow" / "0.png")
    make_tree(images / "oneclass", classes=("ant",))
    make_tree(images / "odd", classes=("Ant", "ant", "=cmd", "名前", "<b>x<b>", "'\n"), size=(7, 5))


def _make_runs(folder: Path) -> None:
    """A finished run, and copies of it in which one file is not what it should be."""
    assert main.main([*RUN, "--result-dir", "made"]) == 0
    (folder / "made" / "singleshot" / "run").rename(folder / "run")
    shutil.rmtree(folder / "made")
    shutil.copytree(folder / "run", folder / "runs" / "changed")
    for name in ("evil", "foreign", "noargs", "badargs", "oddargs"):
        shutil.copytree(folder / "run", folder / "runs" / name)
        summary = json.loads((folder / "run" / "summary.json").read_text())
        del summary["checksum"], summary["files"]  # by whoever made the file: nothing can be said by checksums
        (folder / "runs" / name / "summary.json").write_text(json.dumps(summary))
    shutil.copy(folder / "evil.pt", folder / "runs" / "evil" / "model.pt")
    shutil.copy(folder / "plain.pt", folder / "runs" / "foreign" / "model.pt")
    (folder / "runs" / "noargs" / "args.json").unlink()
    (folder / "runs" / "badargs" / "args.json").write_text("{")
    shutil.copytree(folder / "run", folder / "runs" / "piped")
    (folder / "runs" / "piped" / "args.json").unlink()
    os.mkfifo(folder / "runs" / "piped" / "args.json")
    (folder / "runs" / "changed" / "args.json").write_text((folder / "run" / "args.json").read_text().replace("mag", "rand"))
    (folder / "runs" / "oddargs" / "args.json").write_text(json.dumps({"experiment": ["odd"], "model": 3, "cells": 5}))
