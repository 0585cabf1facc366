"""`--experiment compact`: files that others load, the same predictions, and what the table says."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from compacting import BASE, FOLDER, NEW, compact, masked, report
from conftest import PROJECT

import main
from Experiments import compact as experiment

CONV = [*BASE, "--model", "conv", "--pruner", "synflow", "--density", "0.02"]
OLD = torch.__version__.startswith("2.9.")  # which loads the parameters of a program as ones to be trained, whatever they were
STRANGER = """
import sys, torch
program = torch.export.load(sys.argv[1]).module()
images = torch.load(sys.argv[2])
torch.save([program(images), torch.cat([program(image[None]) for image in images])], sys.argv[3])
assert not {"Models", "Utils", "Pruners", "Experiments"} & set(sys.modules)
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
