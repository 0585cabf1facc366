"""`--experiment compact`: files that others load, the same predictions, and what the table says."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import PROJECT

import main
from Experiments import compact as experiment
from Models import registry
from Models.weights import load_weights
from Utils.data.open_set import open_dataset

DATA = "synthetic:1x12x12:4:60"
BASE = ["--dataset", DATA, "--post-epochs", "1", "--prune-epochs", "3", "--train-batch-size", "10", "--lr", "0.01", "--expid", "x"]
CONV = [*BASE, "--model", "conv", "--pruner", "synflow", "--density", "0.02"]
FOLDER = Path("Results/data/singleshot/x")
OLD = torch.__version__.startswith("2.9.")  # which loads the parameters of a program as ones to be trained, whatever they were
NEW = {"compact.pt", "compact.pt2", "compact.onnx", "compact.csv", "compact.json"}
STRANGER = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
images = torch.load(sys.argv[2])
torch.save([program(images), torch.cat([program(image[None]) for image in images])], sys.argv[3])
assert not {"Models", "Utils", "Pruners", "Experiments"} & set(sys.modules)
"""
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A working folder with one run of `conv`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.main(CONV) == 0
    return folder


@pytest.fixture
def made(trained, tmp_path):
    """A copy of `trained`, in the folder where `command` works."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / FOLDER


def compact(command, *folders, words=()):
    return command("--experiment", "compact", "--run", *folders, *words)


def report(folder):
    return json.loads((Path(folder) / "compact.json").read_text())


def masked(folder, data=DATA, model="conv", kind="default"):
    """The run's network and its test images, found without the code under test."""
    dataset = open_dataset(data)
    network = registry.build(model, kind, dataset.input_shape, dataset.num_classes)
    load_weights(network, folder / "model.pt")
    return network.eval(), next(dataset.test_batches(1000))[0]


def test_the_files_load_without_this_project(made, tmp_path):
    """The command in a process of its own, so that nothing that exporters write anywhere is missed."""
    before = {f.name: f.read_bytes() for f in made.iterdir()}
    words = [sys.executable, PROJECT / "main.py", "--experiment", "compact", "--run", FOLDER]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "" and "onnx]" not in done.stdout and len(done.stdout.splitlines()) == 10
    assert all(name in done.stdout for name in (*NEW, "the same predictions", "NOTE: a batch of 12 instead of 256"))
    after = {f.name: f.read_bytes() for f in made.iterdir()}
    assert after.keys() - before.keys() == NEW
    del before["manifest.json"]  # which has the new names
    assert all(after[name] == content for name, content in before.items())
    assert not any(str(PROJECT).encode() in after[name] for name in ("compact.pt", "compact.pt2", "compact.onnx"))

    network, images = masked(made)
    with torch.no_grad():
        expected = network(images)
    torch.save(images, tmp_path / "images.pt")
    (tmp_path / "elsewhere").mkdir()
    words = [sys.executable, "-I", "-c", STRANGER, made / "compact.pt2", tmp_path / "images.pt", tmp_path / "outputs.pt"]
    subprocess.run(words, cwd=tmp_path / "elsewhere", check=True, env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"})
    import onnxruntime

    session = onnxruntime.InferenceSession(after["compact.onnx"])
    found = [torch.from_numpy(session.run(["outputs"], {"images": x.numpy()})[0]) for x in (images, images[:1])]
    for outputs in (*torch.load(tmp_path / "outputs.pt"), found[0]):
        assert torch.equal(outputs.argmax(1), expected.argmax(1)) and (OLD or not outputs.requires_grad)
        torch.testing.assert_close(outputs.detach(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], expected[:1], rtol=1e-5, atol=1e-6)
    assert report(made)["largest_difference"] < 1e-5 and len(set(expected.argmax(1).tolist())) > 1


def test_what_the_table_says(command, made, quick):
    assert compact(command, FOLDER).status == 0
    table = pd.read_csv(made / "compact.csv").set_index("network")
    state = torch.load(made / "compact.pt", weights_only=True)
    whole = torch.load(made / "model.pt", weights_only=True)
    assert list(state) == [name for name in whole if not name.endswith("_mask")]
    shapes = {name: tuple(t.shape) for name, t in state.items()}
    (a, b), flat = (shapes[f"{i}.weight"][0] for i in (0, 2)), [n for n in shapes if n.endswith("weight")][-1]
    assert (a, b) < (32, 32) and shapes["2.weight"] == (b, a, 3, 3) and shapes[flat] == (4, b * 144)
    sizes = table[["parameters", "file_bytes", "macs"]]
    assert sizes.loc["compact"].tolist() == [
        sum(t.numel() for t in state.values()), (made / "compact.pt").stat().st_size, 9 * 144 * (a + a * b) + 4 * b * 144
    ]  # fmt: skip
    assert sizes.loc["masked"].tolist() == [
        10 * 32 + 9 * 32 * 32 + 32 + 4 * 32 * 144 + 4, (made / "model.pt").stat().st_size, 9 * 144 * (32 + 32 * 32) + 4 * 32 * 144
    ]  # fmt: skip
    assert sizes.loc["dense"].drop("file_bytes").equals(sizes.loc["masked"].drop("file_bytes"))
    assert sizes["file_bytes"]["compact"] < sizes["file_bytes"]["dense"] < sizes["file_bytes"]["masked"]
    for batch in (1, 12):
        q1, median, q3 = (table[f"batch{batch}_seconds_{name}"] for name in ("q1", "median", "q3"))
        assert (q1 > 0).all() and (q1 <= median).all() and (median <= q3).all()
    said = report(made)
    assert said["units"] == {"0": [a, 32], "2": [b, 32], flat.removesuffix(".weight"): [4, 4]}
    assert said["networks"]["compact"]["macs"] == sizes["macs"]["compact"] and said["repeats"] == {"1": 2, "12": 2}
    assert (said["images"], said["differing"], said["ties"], said["notes"], said["any_batch"]) == (12, 0, 0, [], True)
    assert said["versions"]["torch-pruning"] and said["threads"] and said["device"].startswith("cpu")
    top1 = json.loads((made / "summary.json").read_text())["top1_last"]
    assert said["top1"] == {"masked": top1, "compact": top1}
    assert "Already done" in command(*CONV).out


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


def test_refused(refused, made):
    refused(["--experiment", "compact"], "needs --run FOLDER")
    refused(["--experiment", "compact", "--run", "nowhere"], "--run nowhere: no saved network there")
    refused(["--experiment", "compact", "--run", "x", "--compression", "1"], "--compression is not read by --experiment compact")
    (made / "model.pt").write_bytes(b"not a network")
    refused(["--experiment", "compact", "--run", FOLDER], "model.pt", "is damaged")


def test_other_predictions_fail(command, made, quick, monkeypatch):
    real = experiment.compacted

    def spoilt(*arguments):
        small = real(*arguments)
        with torch.no_grad():
            small.model[-1].weight.neg_()
        return small

    monkeypatch.setattr(experiment, "compacted", spoilt)
    done = compact(command, FOLDER)
    assert done.status == 1 and done.err.count("\n") == 1 and str(FOLDER) in done.err
    assert "predicts another class for" in done.err and "of 12 test images" in done.err and not list(made.glob("compact*"))


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


def test_without_the_packages_for_onnx(command, made, few_calls, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "onnxscript" else find(name, *rest))
    done = compact(command, FOLDER, words=["--test-batch-size", "5"])
    notes = [line for line in done.out.splitlines() if "requirements-onnx.txt" in line]
    assert done.status == 0 and len(notes) == 1 and notes[0].startswith("NOTE: ")
    assert {f.name for f in made.glob("compact*")} == NEW - {"compact.onnx"}
    wanted = {line.split(">")[0] for line in (PROJECT / "requirements-onnx.txt").read_text().splitlines()[1:]}
    assert wanted == {"onnx", "onnxscript"}


def test_a_failed_onnx_export_is_a_note(command, made, few_calls, monkeypatch):
    def fail(*_, **__):
        raise ValueError("no\nsuch operator")

    monkeypatch.setattr(torch.onnx, "export", fail)
    done = compact(command, FOLDER)
    assert done.status == 0 and "NOTE: no compact.onnx: this network cannot be written as ONNX (ValueError: no such operator)" in done.out
    assert not (made / "compact.onnx").exists() and (made / "compact.pt2").exists()
