"""The precision of training and evaluation: its choice, its record, TF32's setting, and the layout that goes with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from device_commands import DATA
from pretend import CARD, card
from torch import nn

from Utils.base.errors import Refused
from Utils.base.json_files import write_json
from Utils.compute.precision import Precision
from Utils.options.command_line import parse
from Utils.options.resolve import identity
from Utils.report.recipes import differences
from Utils.report.report_run import Run, read_run
from Utils.runs.cache import precision_fact
from Utils.runs.dense_cache import dense_path
from Utils.runs.made_on import recorded_precision
from Utils.runs.places import path_of
from Utils.training.loops import test_sums as sums_over
from Utils.training.loops import train_epoch
from Utils.training.masked_network import MaskedNetwork
from Utils.training.phase import Training

CPU = torch.device("cpu")
RUN = [*DATA, "--pruner", "snip", "--post-epochs", "2", "--checkpoint-every", "1", "--expid", "x"]
FOLDER = Path("Results/data/singleshot/x")


def flags():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def strict():
    """TF32 is off, as `choose_device` has it."""
    before = flags()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(("words", "device", "recorded", "chosen", "note"), [
    ("", CPU, None, "float32", ""),
    ("", CARD, None, "tf32", ""),
    ("--precision float32", CARD, None, "float32", ""),
    ("--precision bf16", CARD, None, "mixed: bfloat16 and float32", ""),
    ("--precision bf16", CPU, None, "mixed: bfloat16 and float32", ""),
    ("--precision tf32", CPU, None, "float32", "--precision tf32: this device has no TF32, it computes in float32"),
    ("--quantization", CARD, None, "mixed: bfloat16 and float32", ""),
    ("--quantization --precision bf16", CARD, None, "mixed: bfloat16 and float32", ""),
    ("--quantization", CARD, "float32", "mixed: bfloat16 and float32", ""),  # of an earlier version, which recorded nothing
    ("", CARD, "float32", "float32", "this run goes on in float32, in which it was begun"),
    ("", CARD, "tf32", "tf32", ""),
    ("", CPU, "tf32", "float32", "this run was begun in tf32: this device has no TF32, it computes in float32"),
    ("--precision tf32", CARD, "float32", "float32", "this run goes on in float32, in which it was begun"),
    ("", CPU, "mixed: bfloat16 and float32", "mixed: bfloat16 and float32", ""),
    ("--experiment prune --precision-is-not-read", CARD, None, "float32", ""),
])  # fmt: skip
def test_the_precision_of_a_run(words, device, recorded, chosen, note):
    options = parse([w for w in words.split() if w != "--precision-is-not-read"])
    with card():
        found = Precision.of(options, device, recorded)
    assert (str(found), found.note) == (chosen, note) and str(found.anew()) == chosen
    tensor_cores = device == CARD and chosen != "float32"
    assert found.layout == (torch.channels_last if tensor_cores else torch.contiguous_format)


def test_cards_without_tf32_or_bfloat16(monkeypatch):
    with card():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
        for recorded in (None, "float32"):
            found = Precision.of(parse([]), CARD, recorded)
            assert str(found) == "float32" and not found.note
        assert str(Precision.of(parse([]), CARD, touch=False)) == "tf32"
        assert "no TF32" in Precision.of(parse(["--precision", "tf32"]), CARD).note
        assert str(Precision.of(parse(["--quantization"]), CARD)) == "mixed: float16 and float32"
        with pytest.raises(Refused, match="--precision bf16: this card has no bfloat16"):
            Precision.of(parse(["--precision", "bf16"]), CARD)


@pytest.mark.parametrize("name", ["float32", "tf32"])
def test_quantization_excludes_other_precisions(name, refused):
    refused(["--quantization", "--precision", name], "--quantization", f"--precision {name}", "exclude each other")


def test_only_a_precision_that_is_given_is_in_names():
    plain, asked = parse(RUN[:-2]), parse([*RUN[:-2], "--precision", "float32"])
    assert "precision" not in identity(plain) and identity(asked)["precision"] == "float32"
    assert path_of(plain) != path_of(asked)


def test_shared_networks_are_told_apart_by_the_precision_that_was_used():
    options = parse([*DATA, "--pre-epochs", "1"])
    single, tf32, half = Precision(CARD), Precision(CARD, tf32=True), Precision(CARD, torch.bfloat16)
    files = [dense_path(options, precision) for precision in (single, tf32, half)]
    assert len(set(files)) == 3 and dense_path(replace(options, precision="float32"), single) == files[0]
    assert dense_path(replace(options, quantization=True), half) not in files
    facts = [precision_fact(options, precision) for precision in (single, tf32, half)]
    assert facts == [{}, {"precision": "tf32"}, {"precision": "mixed: bfloat16 and float32"}]
    assert precision_fact(replace(options, quantization=True), half) == {}  # as in earlier versions


def test_the_setting_of_tf32_is_put_back(strict):
    for allowed in (True, False):
        with pytest.raises(KeyError), Precision(CARD, tf32=allowed).computing():
            assert flags() == (allowed, allowed)
            raise KeyError
        assert flags() == (False, False)
    torch.backends.cudnn.allow_tf32 = True
    with Precision(CARD).computing():
        assert flags() == (False, False)
    assert flags() == (True, False)
    with Precision(CPU).computing():
        assert flags() == (True, False)


def test_training_and_evaluation_allow_it(strict):
    model, batch, seen = nn.Linear(4, 3), [(torch.randn(4, 4), torch.tensor([0, 1, 2, 0]))], []
    model.register_forward_hook(lambda *_: seen.append(flags()))
    train_epoch(model, torch.optim.SGD(model.parameters()), batch, precision=Precision(CARD, tf32=True))
    sums_over(model, batch, Precision(CARD, tf32=True))
    assert seen == [(True, True)] * 2 and flags() == (False, False)


def recorded(key="computed_in"):
    return json.loads((FOLDER / "args.json").read_text())[key]


def interrupted(command, monkeypatch, *words):
    """Begin a run and interrupt it after its first epoch."""
    whole = Training._next

    def broken(self, model, epoch, epochs):
        if epoch == 2:
            raise KeyboardInterrupt
        whole(self, model, epoch, epochs)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_next", broken)
        assert command(*words).status == 130


def test_what_an_unfinished_folder_recorded():
    assert recorded_precision({}) == "float32" and recorded_precision({"computed_in": "tf32"}) == "tf32"
    assert recorded_precision({"computed_in": "tf32", "continued": [{"device": "x"}]}) == "tf32"
    assert recorded_precision({"computed_in": "tf32", "continued": [{"computed_in": "float32"}]}) == "float32"
    assert recorded_precision({"computed_in": ["x"], "continued": 5}) == "float32"  # of a file that somebody changed


def test_a_run_goes_on_in_the_precision_in_which_it_was_begun(command, monkeypatch):
    """Its folder is that of an earlier version, which recorded none."""
    interrupted(command, monkeypatch, *RUN, "--no-cuda")
    args = json.loads((FOLDER / "args.json").read_text())
    assert args["computed_in"] == "float32" and args["precision"] is None
    write_json(FOLDER / "args.json", {k: v for k, v in args.items() if k not in ("computed_in", "precision", "checksum")})
    with card():
        done = command(*RUN)
        assert done.status == 0 and "NOTE: this run goes on in float32, in which it was begun" in done.out, done
        assert json.loads((FOLDER / "summary.json").read_text())["precision"] == "float32"
        again = command(*RUN)
    assert "NOTE: this run was computed in float32; begun now, it would be computed in tf32" in again.out
    assert "begun now" not in command(*RUN, "--no-cuda").out


def test_a_run_on_a_card(command, monkeypatch):
    """Pruning sees neither TF32 nor its layout; the record is that of the card; the CPU prints the finished run."""
    seen = []
    prune = MaskedNetwork.prune

    def watched(self, *args, **kwargs):
        seen.append((flags(), all(p.weight.is_contiguous() and p.mask.is_contiguous() for p in self.prunables)))
        return prune(self, *args, **kwargs)

    monkeypatch.setattr(MaskedNetwork, "prune", watched)
    with card():
        done = command(*RUN, "--pruner", "rigl", "--update-interval", "2", "--pre-epochs", "1")
    assert done.status == 0 and "NOTE: this run" not in done.out, done
    assert seen == [((False, False), True)] and recorded() == "tf32"
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert summary["precision"] == summary["inference"]["precision"] == "tf32" and read_run(FOLDER)["computed_in"] == "tf32"
    done = command("--experiment", "evaluate", "--run", FOLDER, "--no-cuda")
    assert done.status == 0
    done = command(*RUN, "--pruner", "rigl", "--update-interval", "2", "--pre-epochs", "1")
    assert "NOTE: this run was computed in tf32; begun now, it would be computed in float32" in done.out


def test_tf32_without_a_card_is_float32_with_a_note(command):
    done = command(*DATA, "--pruner", "rand", "--precision", "tf32", "--expid", "x")
    assert done.status == 0 and "NOTE: --precision tf32: this device has no TF32, it computes in float32" in done.out
    assert recorded() == "float32" and recorded("precision") == "tf32"
    assert json.loads((FOLDER / "summary.json").read_text())["precision"] == "float32"


def test_a_report_names_precisions_that_differ():
    runs = [Run(Path(name), {"pruner": name, "lr": 0.1, "computed_in": used, "precision": None}, {}, "done")
            for name, used in (("snip", "tf32"), ("mag", "float32"))]  # fmt: skip
    assert differences(runs) == ["computed in: tf32 for snip; float32 for mag"]
