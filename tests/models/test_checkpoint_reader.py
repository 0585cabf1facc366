"""The one reader of checkpoints: the forms in which training programs save a network."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import sys
import types

import numpy as np
import pytest
import torch
from malicious import Malicious
from torch import nn
from torch.nn.utils import prune

from Models.checkpoint_reader import ALONE, NONE, OURS, PLAIN, TORCH, read_checkpoint
from Models.state_dicts import bare_names, find_network
from Models.weights import load_weights
from Utils.base.errors import Refused

W = torch.tensor([[1.0, -2.0, 0.5, 4.0], [3.0, 0.25, -1.0, 8.0]])
MASK = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 1]])
B = torch.tensor([5.0, 6.0])
STATE = {"0.weight": W, "0.bias": B}


def net():
    return nn.Sequential(nn.Linear(4, 2))


def prefixed(prefix, state=STATE):
    return {prefix + name: tensor for name, tensor in state.items()}


def pruned(remove=False):
    model = net()
    model.load_state_dict(STATE)
    prune.custom_from_mask(model[0], "weight", MASK)
    if remove:
        prune.remove(model[0], "weight")
    return model.state_dict()


class Config(dict):
    pass


class Custom:
    pass


def averaged():
    model = net()
    model.load_state_dict(STATE)
    return torch.optim.swa_utils.AveragedModel(model).state_dict()


WRAPPED = {
    "bare": STATE,
    "net": {"net": STATE, "acc": 91.2, "epoch": 7},
    "tutorial": {"epoch": 7, "model_state_dict": STATE, "loss": 0.5},
    "namespace": {"model": STATE, "args": argparse.Namespace(lr=0.1)},
    "numpy scalar": {"state_dict": STATE, "acc": np.float64(91.2)},
    "lightning": {"state_dict": prefixed("model."), "epoch": 1},
    "compiled": prefixed("_orig_mod.module."),
    "any order": prefixed("module.model._orig_mod.module.net."),
    "compiled inside": {"0._orig_mod.weight": W, "0._orig_mod.bias": B},
    "averaged": averaged(),
    "averaged in DDP": {"ema": prefixed("module.", averaged())},
    "deep": {"checkpoint": {"model": {"state_dict": STATE}}, "optimizer": {"state": {"a": {"step": torch.ones(1)}}}},
    "settings under model": {"model": {"name": "resnet"}, "weights": STATE},
    "tensor beside": {"state_dict": STATE, "best": torch.ones(3)},
    "list": [STATE, 3],
    "half": {name: tensor.half() for name, tensor in STATE.items()},
    "bfloat16": {name: tensor.bfloat16() for name, tensor in STATE.items()},
    "coo": STATE | {"0.weight": W.to_sparse()},
    "csc": STATE | {"0.weight": W.to_sparse_csc()},
    "csr": STATE | {"0.weight": W.to_sparse_csr()},
    "half coo": STATE | {"0.weight": W.half().to_sparse()},
    "arrays": {"state_dict": {name: tensor.numpy() for name, tensor in STATE.items()}},
    "parameters": {name: nn.Parameter(tensor) for name, tensor in STATE.items()},
    "classes of dictionaries": collections.defaultdict(list, {"net": Config(STATE)}),
}


@pytest.mark.parametrize("form", WRAPPED)
def test_a_network_is_found_however_it_was_wrapped(form, tmp_path):
    torch.save(WRAPPED[form], tmp_path / "w.pt")
    model = net()
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model[0].weight, W) and torch.equal(model[0].bias, B)
    found = read_checkpoint(tmp_path / "w.pt")
    assert found.form == PLAIN and list(found.tensors) == list(STATE) and not found.masks


def test_the_old_format_is_read_with_objects_in_it(tmp_path):
    torch.save({"net": STATE, "args": argparse.Namespace(a=1)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_checkpoint(tmp_path / "w.pt").tensors["0.weight"], W)


def test_objects_beside_the_weights_are_skipped_and_named(tmp_path, monkeypatch):
    """Nothing of them is imported: the classes are gone when the file is read."""
    module = types.ModuleType("a_module_of_theirs")
    module.Theirs = type("Theirs", (), {"__module__": module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    beside = {
        "args": argparse.Namespace(lr=0.5, out=pathlib.PurePosixPath("a/b")), "when": datetime.date(2024, 1, 2), "own": module.Theirs(),
        "counts": collections.defaultdict(int, a=1), "cfg": Config(x=1), "kind": Custom, "function": torch.nn.functional.relu,
        "best": np.float32(2.5), "epoch": np.int64(7), "good": np.bool_(True), "history": np.arange(6.0).reshape(2, 3),
    }  # fmt: skip
    torch.save({"model": STATE} | beside, tmp_path / "w.pt")
    monkeypatch.delitem(sys.modules, module.__name__)
    found = read_checkpoint(tmp_path / "w.pt")
    values = found.beside
    assert (values["best"], values["epoch"], values["good"], dict(values["counts"]), dict(values["cfg"])) == (
        2.5,
        7,
        True,
        {"a": 1},
        {"x": 1},
    )
    assert values["history"].tolist() == [[0, 1, 2], [3, 4, 5]] and "argparse.Namespace(lr=0.5, out=pathlib." in str(
        values["args"]
    )
    (note,) = found.notes
    assert "skipped args (argparse.Namespace), when (datetime.date), own (a_module_of_theirs.Theirs) and 2 more" in note
    assert module.__name__ not in sys.modules


def test_functions_beside_the_weights_are_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"net": STATE, "x": Malicious(pathlib.Path.touch, pathlib.Path("ran"))}, "w.pt")
    assert torch.equal(read_checkpoint("w.pt").tensors["0.bias"], B)
    torch.save(STATE | {"0.bias": Malicious(pathlib.Path.touch, pathlib.Path("ran"))}, "w.pt")
    with pytest.raises(Refused, match=r"lacks 0.bias .*skipped 0.bias"):
        load_weights(net(), "w.pt")
    torch.save({"net": STATE, "x": Malicious(print, pathlib.Path("ran"))}, "w.pt")
    read_checkpoint("w.pt")
    import os

    torch.save({"net": STATE, "x": Malicious(os.mkdir, pathlib.Path("ran"))}, "w.pt")
    with pytest.raises(Refused, match=r"w.pt would run posix.mkdir when it is loaded; nothing in it was run"):
        read_checkpoint("w.pt")
    assert not pathlib.Path("ran").exists()


def test_of_several_networks_the_first_by_the_rule_is_read_and_named():
    twice = {name: 2 * tensor for name, tensor in STATE.items()}
    network, beside, notes = find_network({"ema": twice, "epoch": 1, "model": STATE})
    assert network is STATE and set(beside) == {"ema", "epoch"} and "under model, ema: model is read" in notes[0]
    network, _, notes = find_network({"generator": twice, "discriminator": STATE})
    assert network is twice and "under generator, discriminator: generator is read" in notes[0]
    network, _, notes = find_network({"optimizer_state": {"m": W}, "mine": STATE})
    assert network is STATE and not notes


def test_prefixes_go_only_where_all_names_have_them():
    assert bare_names(["model.a", "model.b"]) == {"model.a": "a", "model.b": "b"}
    assert bare_names(["model.a", "head.b"]) == {"model.a": "model.a", "head.b": "head.b"}
    assert bare_names(["n_averaged", "a"]) == {"n_averaged": "n_averaged", "a": "a"}


def test_a_network_whose_own_names_all_have_the_prefix(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = net()

    for state in (prefixed("model."), prefixed("module.model."), STATE):
        model = Wrapped()
        torch.save(state, tmp_path / "w.pt")
        load_weights(model, tmp_path / "w.pt")
        assert torch.equal(model.model[0].weight, W)


def test_every_form_of_masks(tmp_path):
    def read(content):
        torch.save(content, tmp_path / "w.pt")
        return read_checkpoint(tmp_path / "w.pt")

    forms = {
        TORCH: [pruned(), {"state_dict": prefixed("model.", pruned())}, {k: v.bfloat16() for k, v in pruned().items()}],
        OURS: [STATE | {"0.weight_mask": MASK.bool()}, {"net": STATE, "masks": {"0.weight": MASK.int()}}],
        ALONE: [{"0.weight": MASK.int()}, {"0.weight": MASK.bool()}, {"0.weight_mask": MASK}, {"masks": {"0.weight": MASK.bool()}},
                {"0.weight_mask": MASK.to(torch.uint8), "0.regrown.0": torch.tensor([7])}],
    }  # fmt: skip
    for form, contents in forms.items():
        for content in contents:
            found = read(content)
            assert found.form == form and torch.equal(found.masks["0.weight"], MASK), content
            assert form == ALONE or torch.equal(found.tensors["0.weight"], W * MASK)
    assert torch.equal(read(pruned()).originals["0.weight"], W)
    assert read({"state": {0: {"exp_avg": W}}}).form == NONE


def test_zeros_that_prune_remove_left_are_masks_where_they_are_asked_for(tmp_path):
    torch.save(pruned(remove=True), tmp_path / "w.pt")
    found = read_checkpoint(tmp_path / "w.pt")
    assert found.form == PLAIN and not found.masks
    masked = found.with_masks_of_zeros(["0.weight"])
    assert torch.equal(masked.masks["0.weight"], MASK) and "the zeros of 0.weight are taken as pruned" in masked.notes[0]
    assert not found.with_masks_of_zeros(["0.weight"], beyond=0.75).masks  # exactly 3/4 are zero
    assert found.with_masks_of_zeros(["0.weight"], beyond=0.7).masks


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.b.weight = self.a.weight


def test_tied_weights(tmp_path):
    """A file may have a shared tensor once, as safetensors does, or under each name; two values for it are refused."""
    shared = torch.arange(16.0).view(4, 4)
    for state in ({"a.weight": shared}, {"b.weight": shared}, {"a.weight": shared, "b.weight": shared.clone()}):
        model = Tied()
        torch.save(state, tmp_path / "w.pt")
        load_weights(model, tmp_path / "w.pt")
        assert model.b.weight is model.a.weight and torch.equal(model.a.weight, shared)
    torch.save({"a.weight": shared, "b.weight": shared + 1}, tmp_path / "w.pt")
    with pytest.raises(Refused, match=r"a.weight and b.weight are one tensor: it has two"):
        load_weights(Tied(), tmp_path / "w.pt")
