"""Files of unknown origin: whatever reads them takes tensors and plain values, runs nothing, and writes nowhere else."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from pathlib import Path

import pytest
import torch
from bad_input_files import EVIL
from conftest import PROJECT, TINY
from test_cifar import make_cifar
from trees import refused as is_refused

from Utils.base.tensor_files import FORCED, tensors_alone, unseal
from Utils.data.download import md5_of
from Utils.data.open_set import open_dataset
from Utils.runs.manifest import OwnFiles

FOLDER = Path("Results/data/singleshot/x")
READERS = {"Utils/base/tensor_files.py"}


def test_every_reader_of_tensors_is_known():
    """A new one has to read with `weights_only=True`, and to get a test here."""
    found = set()
    for file in PROJECT.rglob("*.py"):
        if not {"tests", ".git", ".venv", "benchmarks"} & set(file.relative_to(PROJECT).parts):
            calls = re.findall(r"^[^#\n\"`]*\b(torch\.load\(.*|pickle\.loads?\(.*|allow_pickle.*)", file.read_text(), flags=re.M)
            assert all("weights_only=True" in call for call in calls), (file, calls)
            found |= {str(file.relative_to(PROJECT))} if calls else set()
    assert found == READERS


def sealed(path: Path, content: object) -> None:
    """A file with a checksum that fits."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())


def test_a_malicious_checkpoint_is_not_run_and_the_run_starts_afresh(command):
    words = [*TINY, "--pre-epochs", "1", "--expid", "x"]
    assert command(*words).status == 0
    expected = (FOLDER / "model.pt").read_bytes()
    (FOLDER / "summary.json").unlink()
    sealed(FOLDER / "checkpoint.bin", {"files": {}, "rows": EVIL})
    assert unseal(FOLDER / "checkpoint.bin") is None
    done = command(*words)
    assert done.status == 2 and "checkpoint.bin is not a file of this program" in done.err and "starts over" not in done.out
    OwnFiles(FOLDER).record(["checkpoint.bin"])  # in the place of one that the run had
    done = command(*words)
    assert done.status == 0 and "the run starts over" in done.out
    assert (FOLDER / "model.pt").read_bytes() == expected and not Path("PWNED").exists()


def test_a_malicious_dense_network_is_not_run_and_trained_again(command):
    words = [*TINY, "--pre-epochs", "1", "--expid"]
    assert command(*words, "x").status == 0
    (cached,) = Path("Results/data/dense-networks").glob("*.bin")
    sealed(cached, {"model": EVIL, "rows": [], "rewind": None, "peak": 0})
    sealed(cached.with_suffix(".checkpoint"), EVIL)
    assert command(*words, "y").status == 0 and not Path("PWNED").exists()
    states = [torch.load(FOLDER.parent / name / "model.pt", weights_only=True) for name in "xy"]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_malicious_pretrained_weights_are_not_run(refused, tmp_path, monkeypatch):
    """torch.hub takes a file that lies in its folder as it is, and would run it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    import torchvision

    url = torchvision.models.get_model_weights("squeezenet1_1").DEFAULT.url
    file = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save({"features.0.weight": EVIL}, file)
    words = ["--dataset", "synthetic:3x32x32:3:60", "--model-class", "torchvision", "--model", "squeezenet1_1", "--pretrained"]
    refused([*words, "--no-download"], "--pretrained", str(file))
    assert not Path("PWNED").exists()


def test_malicious_files_of_a_dataset_are_not_run(refused):
    """torchvision still reads the tensors that its earlier versions kept."""
    for name in ("training.pt", "test.pt"):
        file = Path("Data/KMNIST/processed", name)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save((EVIL, EVIL), file)
    refused(["--dataset", "KMNIST", "--no-download"], "KMNIST")
    assert not Path("PWNED").exists()


def test_other_packages_read_tensors_alone_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(EVIL, "evil.pt")
    with tensors_alone(), pytest.raises(Exception, match=r"[Ww]eights"):
        torch.load("evil.pt", weights_only=False)
    assert not Path("PWNED").exists() and FORCED not in os.environ


def member(name: str, **facts: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(info, key, value)
    return info


LINK = {"type": tarfile.SYMTYPE}
MEMBERS = {
    "above": [member("../outside")], "deep": [member("cifar-10-batches-py/../../outside")], "absolute": [member("{root}/outside")],
    "symlink": [member("link", linkname="..", **LINK), member("link/outside")], "absolute link": [member("link", linkname="/", **LINK)],
    "hard link": [member("link", linkname="../secret", type=tarfile.LNKTYPE)], "device": [member("null", type=tarfile.CHRTYPE)],
}  # fmt: skip


@pytest.mark.parametrize("kind", MEMBERS)
def test_an_archive_writes_nothing_outside_its_folder(kind, tmp_path, monkeypatch):
    """Even one with the right checksum, as that of a mirror of one's own may be."""
    from Utils.data import cifar

    (tmp_path / "secret").write_text("secret")
    archive = make_cifar(tmp_path / "mirror", monkeypatch)
    with tarfile.open(archive, "w:gz") as opened:
        for info in MEMBERS[kind]:
            info.name = info.name.replace("{root}", str(tmp_path))
            opened.addfile(info)
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", ("CIFAR10", archive.name, md5_of(archive)))
    target = tmp_path / "data"
    is_refused(open_dataset("cifar10", target, mirror=archive.parent.as_uri()).load, "cifar")
    assert {path.name for path in tmp_path.iterdir()} == {"secret", "mirror", "data"}
    assert (tmp_path / "secret").read_text() == "secret" and not any(path.is_symlink() for path in target.rglob("*"))
