"""`--experiment compact` for every family of networks, for levels and grids, and for networks that exporters cannot follow."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from compacting import BASE, DATA, FOLDER, NEW, compact, masked, report

ODD = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 4))
class Branch(Net):
    def forward(self, x):
        out = self.layers(x)
        return out + 1 if out.sum() > 1e9 else out
class OneByOne(Net):
    def forward(self, x):
        return torch.cat([self.layers(x[i:i + 1]) for i in range(x.shape[0])])
def branch(shape, classes): return Branch()
def one_by_one(shape, classes): return OneByOne()
"""
RGB = "synthetic:3x32x32:4:40"
FAMILIES = {
    "fc": (DATA, "default", []),
    "conv": (DATA, "default", ["--prune-bias", "--compact"]),
    "vgg11-bn": ("synthetic:3x16x16:4:40", "lottery", ["--pruner", "synflow"]),
    "resnet20": (RGB, "lottery", ["--prune-residual", "--prune-bias", "--prune-batchnorm", "--pruner", "synflow", "--density", "0.1",
                 "--prune-epochs", "20"]),
    "mobilenet_v2": (RGB, "torchvision", ["--pruner", "synflow", "--prune-epochs", "20"]),
}
SLOW = ("vgg11-bn", "mobilenet_v2")  # test_compact.py checks their compact networks in the suite


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in SLOW)) for n in FAMILIES])
def test_every_family(command, quick, name):
    data, kind, words = FAMILIES[name]
    run = [*BASE, "--density", "0.03", "--model-class", kind, "--model", name, "--dataset", data]
    assert command(*run, "--pruner", "rand", *words).status == 0
    done = compact(command, FOLDER)
    assert done.status == 0 and done.err == "" and report(FOLDER)["notes"] == [], done
    network, images = masked(FOLDER, data, name, kind)
    program = torch.export.load(FOLDER / "compact.pt2").module()
    with torch.no_grad():
        for batch in (images, images[:1]):
            torch.testing.assert_close(program(batch), network(batch), rtol=1e-4, atol=1e-5)
    kept = report(FOLDER)["units"]
    assert sum(k for k, _ in kept.values()) < sum(n for _, n in kept.values())


def test_levels(command, quick):
    words = ["--experiment", "multishot", "--level-list", "2", "--pre-epochs", "1", "--model", "fc", "--pruner", "mag", "--density", "0.1"]
    assert command(*BASE, *words).status == 0
    folder = Path("Results/data/multishot/x")
    assert compact(command, folder).status == 0
    assert report(folder / "level=2")["networks"]["compact"]["parameters"] < report(folder / "level=2")["networks"]["masked"]["parameters"]


def test_a_grid(command, quick):
    """A constant network fails alone, the others are done, and the measurements become columns."""
    grid = [*BASE, "--model", "fc", "--pruner-list", "rand", "--density-list", "0.1", "0.0005", "--expid", "g"]
    assert command(*grid).status == 0
    folder = Path("Results/data/singleshot/g")
    done = compact(command, folder)
    constant = "pruner=rand,density=0.0005"
    (line,) = [line for line in done.out.splitlines() if "failed" in line]
    assert done.status == 1 and constant in line and "no path is left from the input to the output" in line
    assert done.err == f"main.py: error: 1 of 3 runs have no compact network: {folder / constant}\n"
    assert not list((folder / constant).glob("compact*"))
    written = pd.read_csv(folder / "grid.csv").set_index("cell")
    assert command(*grid).status == 0
    table = pd.read_csv(folder / "grid.csv").set_index("cell")
    columns = [c for c in table if c.startswith(("dense_", "masked_", "compact_"))]
    pd.testing.assert_frame_equal(written[columns], table[columns], check_dtype=False)
    rows = table[table["compact_parameters"].notna()]
    assert list(table.index.difference(rows.index)) == [constant] and (rows["compact_parameters"] <= rows["masked_parameters"]).all()
    assert (rows["compact_batch12_seconds_median"] > 0).all() and rows["dense_macs"].nunique() == 1
    (folder / "pruner=dense" / "compact.json").write_text("{")
    assert "compact.json" in command(*grid).out
    alone = compact(command, folder / constant)
    assert alone.status == 1 and constant in alone.err and "the network is constant" in alone.err and alone.err.count("\n") == 1
    for cell in folder.glob("pruner=*"):
        (cell / "model.pt").write_bytes(b"PK")
    done = compact(command, folder)
    assert done.status == 2 and done.err.count("\n") == 1 and "3 of 3 runs have no compact network" in done.err


@pytest.mark.parametrize(("name", "files", "note"), [
    ("branch", NEW - {"compact.pt2", "compact.onnx"}, "no compact.pt2: torch.export cannot follow this network"),
    ("one_by_one", NEW, "take batches of one image only"),
])  # fmt: skip
def test_networks_that_exporters_cannot_follow(command, few_calls, name, files, note):
    Path("mine.py").write_text(ODD)
    assert command(*BASE, "--model", f"mine.py:{name}", "--pruner", "rand", "--density", "0.3").status == 0
    done = compact(command, FOLDER, words=["--model", f"mine.py:{name}"])
    assert done.status == 0 and done.err == "" and sum(note in line and line.startswith("NOTE: ") for line in done.out.splitlines()) == 1
    assert {f.name for f in FOLDER.glob("compact*")} == files and report(FOLDER)["any_batch"] is False
    if "compact.pt2" in files:
        assert torch.export.load(FOLDER / "compact.pt2").module()(torch.zeros(1, 1, 12, 12)).shape == (1, 4)
