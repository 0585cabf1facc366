"""What all tests share: the command line in this process, and small networks whose numbers can be worked out by hand."""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a core; more threads than cores only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
import pytest
import torch
from torch import nn

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

TINY = ["--dataset", "synthetic:1x8x8:3:60", "--model", "fc", "--post-epochs", "1", "--prune-epochs", "2"]


def pytest_addoption(parser):
    parser.addoption("--cuda", action="store_true", help="let the tests use CUDA devices, and run those that need one")


def pytest_configure(config):
    if not config.getoption("--cuda"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for this process and all that tests start: figures here are a CPU's


class Done(NamedTuple):
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """A function that runs `main.py` with the given words, in this process and in a folder of its own."""
    import main

    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Done:
        capsys.readouterr()
        try:
            status = main.main([str(word) for word in words])
        except SystemExit as stop:
            status = stop.code
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def refused(command):
    """A function that runs `main.py`, expects one line on standard error with the given parts, status 2, and no file."""

    def run(words: list[object], *parts: str) -> str:
        before = sorted(Path.cwd().rglob("*"))
        done = command(*words)
        assert done.status == 2, done
        assert done.err.count("\n") == 1 and done.err.endswith("\n"), done.err
        assert "Traceback" not in done.err + done.out
        for part in parts:
            assert part in done.err, done.err
        assert sorted(Path.cwd().rglob("*")) == before
        return done.err

    return run


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[..., Path]:
    """A function that runs `main.py` with the given words in a folder of its own, and returns that; the same words are run once."""
    import main

    @cache
    def make(*words: str) -> Path:
        folder = tmp_path_factory.mktemp("made")
        with pytest.MonkeyPatch.context() as moved:
            moved.chdir(folder)
            assert main.main(list(words)) == 0
        return folder

    return make


@pytest.fixture
def finished(command, made_once) -> Callable[..., None]:
    """A function that puts what `main.py` makes of the given words into the test's folder, as a copy of `made_once`."""
    return lambda *words: shutil.copytree(made_once(*map(str, words)), Path.cwd(), dirs_exist_ok=True)


@pytest.fixture
def quick_workers(monkeypatch) -> None:
    """The workers of grids in this process come from a server that has imported the program once, not each from nothing."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))  # of the server, which the first worker starts
    multiprocessing.set_forkserver_preload(["Utils.grid.run", "Experiments.singleshot", "Utils.data.open_set"])
    context = multiprocessing.get_context("forkserver")
    changed = SimpleNamespace(get_context=lambda _method: context, parent_process=multiprocessing.parent_process)
    monkeypatch.setattr("Utils.grid.workers.multiprocessing", changed)


@pytest.fixture
def few_calls(monkeypatch) -> None:
    """`--experiment compact` times a few calls of each network."""
    monkeypatch.setattr("Utils.compact.comparison.REPEATS", 2)


@pytest.fixture
def quick(few_calls, monkeypatch) -> None:
    """`--experiment compact` times a few calls and writes no ONNX."""
    monkeypatch.setattr("Experiments.compact.has_onnx", lambda: False)


@pytest.fixture(autouse=True, scope="session")
def no_browser() -> Iterator[None]:
    """Reports have no PDF, whose printing takes seconds, where a test does not name a browser."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("Utils.report.print_pdf.BROWSERS", ())
        yield


@contextmanager
def without_pictures() -> Iterator[None]:
    """Reports that are made in this block have a few letters for each picture, whose drawing is most of their time."""
    def mark(_figure: object, file: Path | io.BytesIO, kind: str) -> None:
        content = b"<svg></svg>" if kind == "svg" else kind.encode()
        file.write_bytes(content) if isinstance(file, Path) else file.write(content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("Utils.report.render.draw", mark)
        yield


@pytest.fixture
def no_pictures() -> Iterator[None]:
    """For a test in which nobody looks at the pictures of reports."""
    with without_pictures():
        yield


@pytest.fixture
def linear_net() -> nn.Sequential:
    """Two linear layers without biases: y = W2 W1 x, W1 = [[1, -2], [3, 4]], W2 = [[5, -6], [0, 7]]."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        net[1].weight.copy_(torch.tensor([[5.0, -6.0], [0.0, 7.0]]))
    return net


def timeless(frame: pd.DataFrame) -> pd.DataFrame:
    """A `grid.csv` without what depends on the machine's mood: times and memory."""
    return frame[[c for c in frame if not c.startswith(("seconds", "peak_memory", "inference"))]]


def snapshot(model: nn.Module) -> dict[str, object]:
    """Everything about a model that scoring must leave alone."""
    tensors = {name: t.detach().clone() for name, t in model.state_dict().items()}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules()]
    return {"tensors": tensors, "grads": grads, "modes": [m.training for m in model.modules()], "hooks": hooks,
            "rng": torch.get_rng_state()}  # fmt: skip


def assert_same(before: dict[str, object], after: dict[str, object]) -> None:
    """Bit for bit."""
    assert before["modes"] == after["modes"] and before["hooks"] == after["hooks"]
    assert torch.equal(before["rng"], after["rng"])
    for kind in ("tensors", "grads"):
        assert before[kind].keys() == after[kind].keys()
        for name, tensor in before[kind].items():
            other = after[kind][name]
            assert (tensor is None and other is None) or torch.equal(tensor, other), name
