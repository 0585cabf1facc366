"""Checkpoints that are refused, each with its cause, and those of safetensors, known by their content."""

from __future__ import annotations

import gzip
import importlib.util
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from test_checkpoint_reader import MASK, STATE, B, W, net, prefixed
from trees import message

from Models.checkpoint_reader import OURS, read_checkpoint
from Models.weights import load_weights
from Utils.base.errors import Refused


def write(kind, file):
    """Write a file that is not a checkpoint."""
    torch.save(STATE, file)
    good = file.read_bytes()
    written = {
        "empty": b"", "cut": good[:900], "cut by a byte": good[:-1], "lfs": b"version https://git-lfs.github.com/spec/v1\noid",
        "page": b"\n<!DOCTYPE html><html>Sign in</html>", "text": b'{"a": 1}', "gzip": gzip.compress(good),
        "pickle": pickle.dumps({"a": 1}), "bytes": bytes(range(128, 256)),
    }  # fmt: skip
    saved = {
        "whole": net(), "whole inside": {"model": net()}, "tensor": torch.ones(3), "numbers": [1, 2], "meta": net().to("meta").state_dict(),
        "quantised": {"0.weight": torch.quantize_per_tensor(W, 0.1, 0, torch.qint8)}, "int8": {"0.weight": (W * 9).to(torch.int8)},
        "packed": {"0.scale": torch.ones(1), "0._packed_params._packed_params": (W, B)}, "shapes": prefixed("", {"0.weight": W[:1], "0.bias": B}),
        "names": prefixed("layer."), "alone": {"0.weight": MASK.bool()}, "nothing": {}, "optimizer": {"state": {}, "param_groups": []},
    }  # fmt: skip
    if kind in written:
        file.write_bytes(written[kind])
    elif kind in saved:
        torch.save(saved[kind], file)
    elif kind == "old whole":
        torch.save(net(), file, _use_new_zipfile_serialization=False)
    elif kind == "protocol":
        torch.save({"net": STATE}, file, pickle_protocol=4)
    elif kind == "script":
        with zipfile.ZipFile(file, "w") as archive:  # as torch.jit.save writes it, which takes seconds to start
            for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
                archive.writestr(f"w/{name}", b"3\n")
    elif kind == "npz":
        with open(file, "wb") as stream:
            np.savez(stream, a=np.ones(2))
    else:
        file.unlink()
        file.mkdir()


CAUSES = {
    "empty": "is empty (0 bytes)", "cut": "is cut off or damaged (900 bytes)", "cut by a byte": "is cut off or damaged", "lfs": "Git LFS",
    "page": "is an HTML page", "text": "is a text file", "gzip": "is a gzip archive: unpack it first", "folder": "is a folder",
    "pickle": "is a pickle that torch.save did not write", "bytes": "not a file of torch.save (it begins with the bytes 80 81 82",
    "whole": "a pickled object torch.nn.modules.container.Sequential", "whole inside": "model (torch.nn.modules.container.Sequential)",
    "old whole": "holds a whole network in the old format", "protocol": "save it with pickle_protocol=2", "script": "is a TorchScript archive",
    "npz": "is an archive of NumPy arrays", "tensor": "a Tensor", "numbers": "a list", "meta": "0.weight has a shape and no values",
    "quantised": "quantised weights (0.weight is qint8)", "int8": "quantised weights (0.weight is int8)",
    "packed": "quantised weights (0._packed_params._packed_params)", "shapes": "it has 0.weight [1, 4] instead of [2, 4]",
    "names": "it lacks 0.weight, 0.bias; it has unknown layer.0.weight, layer.0.bias (0 of its 2 names fit)",
    "alone": "holds masks without weights (0.weight)", "nothing": "it is empty", "optimizer": "only state (dict), param_groups (list)",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CAUSES)
def test_what_cannot_be_read_is_refused_with_its_cause(kind, tmp_path):
    file = tmp_path / "w.pt"
    write(kind, file)
    with pytest.raises(Refused) as capture:
        load_weights(net(), file)
    assert str(file) in message(capture) and CAUSES[kind] in message(capture)


def packed(path, state):
    """Write a file in the format of safetensors, by its description."""
    header, content = {}, b""
    for name, tensor in state.items():
        part = tensor.numpy().tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(content), len(content) + len(part)]}
        content += part
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def test_a_file_of_safetensors_names_the_package_that_it_needs(tmp_path, monkeypatch):
    packed(tmp_path / "w.pt", STATE)  # known by its content
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"w.pt needs safetensors: pip install -r requirements-safetensors.txt"):
        read_checkpoint(tmp_path / "w.pt")


@pytest.mark.skipif(importlib.util.find_spec("safetensors") is None, reason="the package safetensors is not installed")
def test_safetensors_are_read(tmp_path):
    packed(tmp_path / "w.safetensors", prefixed("model.", STATE | {"0.weight_mask": MASK}))
    found = read_checkpoint(tmp_path / "w.safetensors")
    assert found.form == OURS and torch.equal(found.tensors["0.weight"], W * MASK) and torch.equal(found.masks["0.weight"], MASK)
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:-3])
    with pytest.raises(Refused, match=r"w.safetensors is a damaged file of safetensors: "):
        read_checkpoint(tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.safetensors").read_bytes()[:40])
    with pytest.raises(Refused, match=r"w.safetensors is cut off or damaged \(40 bytes\): it begins like a file of safetensors"):
        read_checkpoint(tmp_path / "w.safetensors")
