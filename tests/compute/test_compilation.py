"""`--compile`: the numbers up to rounding, the plain network as it was, and the way back where a network cannot be compiled."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import timeless
from device_commands import DATA
from torch import nn

from Models.layers import Identity2d
from Models.masking import add_masks, apply_masks, hold_masks
from Utils.base.errors import Refused
from Utils.compute import compilation
from Utils.compute.clock import Clock
from Utils.compute.compilation import Compiled, check_compiler
from Utils.compute.graphs import Graphs, _on_processor
from Utils.compute.precision import Precision
from Utils.options.command_line import parse
from Utils.options.resolve import identity
from Utils.runs.dense_cache import dense_path
from Utils.runs.places import path_of
from Utils.training.loops import test_sums as sums_over
from Utils.training.loops import train_epoch
from Utils.training.optimizers import make_optimizer
from Utils.training.phase import Training

CPU = torch.device("cpu")
RUN = [*DATA, "--pruner", "snip", "--pre-epochs", "1", "--post-epochs", "3", "--checkpoint-every", "1", "--compile", "--expid", "x"]
FOLDER = Path("Results/data/singleshot/x")


@pytest.fixture(autouse=True)
def traced_only(monkeypatch):
    """Trace networks as for the inductor, without its code, which takes seconds to make."""
    monkeypatch.setattr(compilation, "BACKEND", "eager")


class Net(nn.Module):
    """All kinds of layers whose state training changes, a shortcut that looks at its weight, and dropout."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.shortcut = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), Identity2d(4)
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(4, 3)

    def forward(self, x):
        x = self.conv(x)
        return self.head(self.drop(torch.relu(self.norm(x) + self.shortcut(x)).mean((2, 3))))


class Reads(Net):
    """Its forward pass asks a tensor for a number."""

    def forward(self, x):
        out = super().forward(x)
        return out * (2 if float(out.sum().detach()) > 1e9 else 1)


class Counts(Net):
    """It needs other code in each step."""

    step = 0

    def forward(self, x):
        self.step += 1
        return super().forward(x) * (1 + self.step / 100)


def trained(wanted, make=Net, steps=3):
    """Train two epochs of `steps` and a smaller batch, each with a test; return network, losses and the compilation."""
    torch.manual_seed(0)
    model = make()
    prunables = add_masks(model)
    for p in prunables:
        p.mask.copy_(torch.rand(p.mask.shape) < 0.5)
    apply_masks(prunables)
    optimizer = make_optimizer(model, "adam", 0.05, 0.01)
    hold_masks(optimizer, prunables)
    batches = [(torch.randn(n, 1, 6, 6), torch.randint(3, (n,))) for n in [4] * steps + [3]]
    compiled, losses = Compiled(model, Clock(CPU), wanted), []
    with compiled.phase():
        for _ in range(2):
            losses += [train_epoch(model, optimizer, batches, forward=compiled), *sums_over(model, batches, forward=compiled)[0]]
    assert all(not p.weight[p.mask == 0].any() for p in prunables)
    return model, torch.stack(losses), compiled


def test_compiled_training_has_the_numbers_and_leaves_the_network_plain(capsys):
    model, losses, compiled = trained(wanted=True)
    assert capsys.readouterr().out.count("Compiling") == 1
    assert compiled.active and compiled._clock.seconds["compile"] > 0
    plain, expected, never = trained(wanted=False)
    assert torch.allclose(losses, expected, rtol=1e-4) and not never.active and not never._clock.seconds
    assert [*model.state_dict()] == [*plain.state_dict()] and [*dict(model.named_modules())] == [*dict(plain.named_modules())]
    assert model.norm.num_batches_tracked == 8 and not capsys.readouterr().out


@pytest.mark.long
def test_the_inductor_has_the_numbers(monkeypatch):
    monkeypatch.setattr(compilation, "BACKEND", "inductor")
    model, losses, compiled = trained(wanted=True)
    plain, expected, _ = trained(wanted=False)
    assert compiled.active and torch.allclose(losses, expected, rtol=1e-4)  # dropout included
    assert all(torch.allclose(a.double(), b.double(), atol=1e-4) for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True))


@pytest.mark.parametrize("make", [Reads, Counts])
def test_what_cannot_be_compiled_runs_on_with_a_note(capsys, make):
    """Nothing was computed twice: the numbers have the bits of a network that is not to be compiled."""
    model, losses, compiled = trained(wanted=True, make=make, steps=9)
    assert capsys.readouterr().out.count("NOTE: the network runs uncompiled") == 1
    assert not compiled.active and compiled.reason
    plain, expected, _ = trained(wanted=False, make=make, steps=9)
    assert torch.equal(losses, expected) and torch.equal(model.head.weight, plain.head.weight)


def test_a_compiler_that_fails(capsys, monkeypatch):
    def broken(graph, images):
        raise RuntimeError("no Python.h\nfurther lines")

    monkeypatch.setattr(compilation, "BACKEND", broken)
    _, losses, compiled = trained(wanted=True)
    assert "no Python.h" in compiled.reason and "\n" not in compiled.reason and len(compiled.reason) <= compilation.LONGEST
    assert torch.equal(losses, trained(wanted=False)[1]) and capsys.readouterr().out.count("NOTE") == 1


def test_the_environment_turns_it_off(capsys):
    with torch._dynamo.config.patch(disable=True):
        assert not trained(wanted=True)[2].active
    assert "the environment turns torch.compile off" in capsys.readouterr().out


def test_compilation_draws_and_counts_nothing_on_the_processor():
    """`Graphs` would otherwise capture no compiled network."""
    model = Net()
    model.drop = nn.Identity()
    compiled, before = Compiled(model, Clock(CPU), True), _on_processor(model)
    with compiled.phase():
        compiled(torch.ones(4, 1, 6, 6)).sum().backward()
    assert _on_processor(model) == before


def test_captures_are_forgotten_where_the_kernels_change():
    graphs, compiled = Graphs(CPU), Compiled(Net(), Clock(CPU), True)
    graphs._shapes["train"], compiled.after_failure = object(), graphs.forget
    compiled.give_up("x")
    assert not graphs._shapes and not compiled.active


def test_seconds_apart_are_taken_from_the_phase_around(monkeypatch):
    times = iter([10.0, 11.0, 14.0, 20.0, 20.0, 21.0])  # phase from 10 to 20, compilation from 11 to 14, phase from 20 to 21
    clock = Clock(CPU)
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    with clock("train") as lap, clock.apart("compile"):
        pass
    assert lap.seconds == 7 and clock.seconds == {"train": 7, "compile": 3}
    with clock("train") as lap:
        pass
    assert lap.seconds == 1 and clock.seconds["train"] == 8


def test_it_is_an_identity_of_its_own():
    plain, asked = parse([*RUN[:-3], "--no-cuda"]), parse([*RUN[:-2], "--no-cuda"])
    assert identity(asked)["compile"] is True and path_of(plain) != path_of(asked)
    assert dense_path(plain, Precision(CPU)) != dense_path(asked, Precision(CPU))


def numbers(folder):
    tables = [timeless(pd.read_csv(folder / f"{name}-train.csv")) for name in ("pre", "post")]
    return [table.to_csv() for table in tables], torch.load(folder / "model.pt")


def interrupt(command, monkeypatch):
    """Interrupt a run before the second epoch after pruning."""
    whole = Training._next

    def interrupted(self, model, epoch, epochs):
        if self.phase == "post_train" and epoch == 2:
            raise KeyboardInterrupt
        whole(self, model, epoch, epochs)

    with monkeypatch.context() as patched:
        patched.setattr(Training, "_next", interrupted)
        assert command(*RUN).status == 130


def recorded():
    return json.loads((FOLDER / "summary.json").read_text())


def test_a_run_and_its_resumption(command, monkeypatch):
    """An interrupted run goes on to the same numbers; the record says that it was compiled."""
    assert command(*RUN).out.count("Compiling") == 2  # the dense training and the other
    assert recorded()["compiled"] is True and recorded()["seconds"]["compile"] > 0
    tables, state = numbers(FOLDER)
    shutil.rmtree("Results")
    interrupt(command, monkeypatch)
    assert command(*RUN).out.count("Compiling") == 1
    again, other = numbers(FOLDER)
    assert again == tables and all(torch.equal(state[name], other[name]) for name in state)


def test_a_run_that_gave_up_goes_on_uncompiled(command, monkeypatch):
    """A resumed run does not try again, as the rest of an undisturbed one would not be compiled either."""
    with monkeypatch.context() as patched:
        patched.setattr(compilation, "BACKEND", lambda graph, images: 1 / 0)
        interrupt(command, monkeypatch)
    again = command(*RUN)
    assert again.status == 0 and "Compiling" not in again.out and again.out.count("NOTE: the network runs uncompiled") == 1
    assert recorded()["compiled"] is False


def test_no_compiler(refused, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    refused(RUN, "--compile needs a C++ compiler", "CXX")
    refused([*RUN, "--seed-list", "1", "2"], "--compile needs a C++ compiler")
    with pytest.raises(Refused, match="--compile needs a C compiler, and gcc or clang"):
        monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda name: True)
        monkeypatch.delenv("CC", raising=False)
        check_compiler(torch.device("cuda", 0))
    with pytest.raises(Refused, match="--compile needs triton on a GPU"):
        monkeypatch.setattr(compilation.importlib.util, "find_spec", lambda name: None)
        check_compiler(torch.device("cuda", 0))


@pytest.mark.parametrize("words", [["--compile"], ["--pruner-list", "snip", "rand", "--for", "rand:compile=true"]], ids=" ".join)
def test_several_processes_do_not_compile(refused, monkeypatch, words):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused([*DATA, *words], "--compile and torchrun exclude each other")


@pytest.mark.parametrize("experiment", ["prune", "regrow", "imp-conservation"])
def test_other_experiments_do_not_compile(refused, experiment):
    refused(["--experiment", experiment, "--compile"], "--compile")
