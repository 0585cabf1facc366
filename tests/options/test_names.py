"""Names, identities and cache keys are those of earlier versions: a folder, or a cached network, that is there is found again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from conftest import PROJECT

from Utils.compute.precision import Precision
from Utils.options.command_line import parse
from Utils.options.resolve import identity, with_rounds
from Utils.options.types import Grid
from Utils.regrowth.rivals import rivals_path
from Utils.runs.dense_cache import dense_path
from Utils.runs.places import path_of

GOLDEN = json.loads((PROJECT / "tests" / "golden" / "names.json").read_text())  # command line -> facts of its runs, made by fe86c95, the key of rivals later
RUN = {"experiment": "singleshot", "model": "fc", "model_class": "default", "dataset": "synthetic:1x8x8:3:60", "seed": 3, "prune_bias": True}
LATER = {"thop", "weights_dense", "no_graph", "precision", "stack", "compile", "compare_precision", "set", "layout", "layer_method"}  # the golden commit had none


@pytest.fixture
def saved_run(tmp_path, monkeypatch):
    """The folder `run` and the file `x.json` that the command lines name; versions and threads as when the keys were made."""
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/args.json").write_text(json.dumps(RUN))
    for name in ("model.pt", "dense.pt"):
        Path("run", name).write_text(name)
    Path("x.json").write_text("{}")
    monkeypatch.setattr(torch, "__version__", "2")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


def digest(content):
    return hashlib.blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def facts_of(options):
    options, cpu = with_rounds(options), Precision(torch.device("cpu"))
    told = {name: value for name, value in identity(options).items() if name not in LATER}
    facts = {"folder": str(path_of(options)), "identity": digest(told), "keys": digest(sorted(set(options.record()) - LATER))}
    if options.reads("dense") and options.pre_epochs:
        facts["dense"] = dense_path(options, cpu).name
    if options.experiment == "regrow":
        facts["rivals"] = rivals_path(options, None, cpu, 10, 1).name  # no earlier key: it shared no rival of equal epochs
    return facts


def test_names_and_keys_are_those_of_before(saved_run):
    for line, facts in GOLDEN.items():
        command = parse(line.split())
        runs = [cell.options for cell in command.cells] if isinstance(command, Grid) else [command]
        assert [facts_of(options) for options in runs] == facts, line
