"""The same command gives the same numbers: in one process or two, in any order of cells, with and without a resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import TINY

from Models import registry
from tests.crash.numbers import grid_differences
from Utils.compute.device import choose_device
from Utils.compute.precision import Precision
from Utils.options.command_line import parse
from Utils.runs.dense_cache import dense_path
from Utils.runs.folder import RunFolder
from Utils.runs.places import run_name
from Utils.training import set_up

PRUNERS = ["rand", "mag", "snip", "grasp", "synflow"]
BASE = [*TINY[:4], "--pre-epochs", "1", "--post-epochs", "2", "--compression", "0.5", "--expid", "g"]
GRID = Path("singleshot/g")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Numbers depend on the threads of a process in the last digits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.use_deterministic_algorithms(False)


def test_any_number_of_jobs_any_order_and_a_resume_give_the_same_numbers(command, monkeypatch):
    def grid(where, pruners, *words):
        return command(*BASE, "--result-dir", where, "--pruner-list", *pruners, *words)

    assert grid("one", PRUNERS).status == grid("again", PRUNERS).status == 0
    assert grid("turned", PRUNERS[::-1]).status == grid("two", PRUNERS, "--jobs", "2").status == 0
    assert len(list(Path("two/dense-networks").iterdir())) == 1
    write = RunFolder.write_checkpoint

    def stop(folder, *words, **named):
        write(folder, *words, **named)
        raise KeyboardInterrupt

    resumed = 0
    for _cell in PRUNERS:
        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "write_checkpoint", stop)
            resumed += grid("broken", PRUNERS, "--checkpoint-every", "1").status == 130
        shutil.rmtree("broken/dense-networks", ignore_errors=True)  # each cell trains its own
    assert resumed == len(PRUNERS) and grid("broken", PRUNERS).status == 0
    for other in ("again", "turned", "two", "broken"):
        assert not grid_differences(Path("one", GRID), Path(other, GRID)), other
    assert len(list(Path("one", GRID).glob("*/summary.json"))) == 1 + len(PRUNERS)


@pytest.mark.parametrize(("words", "threads"), [([], 2), (["--deterministic"], 1)])
def test_deterministic_steps_have_one_thread_however_large(words, threads, monkeypatch):
    monkeypatch.setattr(set_up, "THREADS", 2)
    before = torch.get_num_threads()
    try:
        set_up.use_threads(registry.build("resnet20", "lottery", (3, 32, 32), 10), parse([*TINY, *words]), (3, 32, 32))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.long
def test_large_networks_have_the_same_numbers_with_any_jobs_when_they_are_deterministic(command, monkeypatch):
    """Two processes have one core each, one has two; SNIP scores and convolutions are sums that threads would share."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    words = ["--dataset", "synthetic:3x32x32:10:80", "--model", "resnet20", "--post-epochs", "1", "--pruner-list", "snip", "mag",
             "--no-cuda", "--deterministic", "--expid", "g"]  # fmt: skip
    for jobs in "12":
        assert command(*words, "--jobs", jobs, "--result-dir", jobs).status == 0
    assert not grid_differences(Path("1", GRID), Path("2", GRID))


@pytest.mark.parametrize("pruner", ["grasp", "rigl"])
def test_deterministic_runs_on_a_cpu_have_the_numbers_of_others(pruner, command):
    words = [*BASE[:4], "--dataset", "synthetic:3x8x8:3:40", "--model", "conv", "--post-epochs", "1", "--pruner", pruner, "--prune-epochs", "2", "--expid", "g"]
    assert command(*words, "--deterministic", "--result-dir", "yes").status == 0 and torch.are_deterministic_algorithms_enabled()
    assert command(*words, "--result-dir", "no").status == 0 and not torch.are_deterministic_algorithms_enabled()
    assert json.loads(Path("yes", GRID, "args.json").read_text())["deterministic"] is True
    assert not grid_differences(Path("yes/singleshot"), Path("no/singleshot"))


def test_deterministic_makes_runs_different_and_leaves_the_names_of_others(command, refused, monkeypatch):
    plain, asked = (parse([*TINY, "--pre-epochs", "1", *words]) for words in ([], ["--deterministic"]))
    cpu = Precision(choose_device(plain))
    plain_name, plain_path = run_name(plain), dense_path(plain, cpu)
    assert plain_name != run_name(asked) and plain_path != dense_path(asked, cpu)
    before = {name: value for name, value in plain.record().items() if name != "deterministic"}
    with monkeypatch.context() as patch:
        patch.setattr(type(plain), "record", lambda self: dict(before))
        assert run_name(plain) == plain_name and dense_path(plain, cpu) == plain_path
    assert command(*TINY, "--expid", "x").status == 0
    refused([*TINY, "--expid", "x", "--deterministic"], "deterministic False there, True asked")
