"""The program on a CUDA device, from its command line: `python -m pytest --cuda tests/gpu`; skipped, saying so, without one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import PROJECT
from crash.numbers import differences, numbers
from device_commands import COMMANDS, DATA, GRID, LEVELS, OF_SAVED_RUNS, PRUNERS, REGROWTH, SPARSE
from test_golden import ROWS, check_row, row_name
from test_large_images import Gradients

import Pruners
from Models import registry
from Models.masking import add_masks, hold_masks
from Pruners._shared.loop import prune_loop
from Pruners._shared.problem import Problem
from Utils.compute.device import choose_device
from Utils.data.batches import TensorSplit
from Utils.data.large_images import LoaderSplit
from Utils.data.reader import Reader
from Utils.options.command_line import parse
from Utils.training.loops import test_sums as sums_over
from Utils.training.loops import train_epoch
from Utils.training.optimizers import make_optimizer

if not torch.cuda.is_available():
    pytest.skip("no CUDA device: none is there, or --cuda was not given", allow_module_level=True)

SHAPE = (3, 32, 32)
MNIST = ["--post-epochs", "1", "--compression", "1", "--data-dir", PROJECT / "Data"]


@pytest.fixture
def on_cuda(command):
    """A function that runs a command, which must succeed, and returns what it printed; `at` is a run's folder, made on CUDA."""

    def run(*words, at=None):
        done = command(*words)
        assert done.status == 0, done
        if at:
            assert json.loads(Path("Results/data", at, "args.json").read_text())["device"].startswith("cuda")
        return done.out

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_every_pruner_and_experiment(on_cuda, name):
    words, folder = COMMANDS[name]
    on_cuda(*words, at=folder)


@pytest.mark.parametrize("words", [[], ["--deterministic"], ["--quantization"], ["--precision", "float32"], ["--compact"], ["--save-trace"]])
def test_the_main_command_on_mnist(on_cuda, words):
    on_cuda("--pruner", "synflow", *MNIST, *words, "--expid", "x", at="singleshot/x")
    summary = json.loads(Path("Results/data/singleshot/x/summary.json").read_text())
    assert summary["top1_last"] > 80 and summary["peak_memory_bytes"]["train"] > 0
    if "--save-trace" in words:
        assert summary["trace"]["busy_ms"] > 0


@pytest.mark.parametrize("words", [
    ["--model", "resnet20", "--pruner", "snip", "--optimizer", "momentum"], ["--pruner", "rigl", "--update-interval", "2"],
    ["--pruner", "mag", "--pre-epochs", "3", "--quantization"], ["--pruner", "snip", "--precision", "float32"], ["--pruner", "synflow", "--optimizer", "adamw", "--deterministic"],
])  # fmt: skip
def test_graphs_have_the_bits_of_ordinary_steps(on_cuda, words):
    words = [*DATA, "--post-epochs", "6", "--density", "0.3", *words]
    assert "without a CUDA graph" not in on_cuda(*words, "--expid", "graph", at="singleshot/graph")
    on_cuda(*words, "--no-graph", "--expid", "plain", at="singleshot/plain")
    assert not differences(*(numbers(Path("Results/data/singleshot", name)) for name in ("graph", "plain")))


def test_masks_do_not_depend_on_the_precision(on_cuda):
    found = {}
    for name in ("float32", "tf32", "bf16"):
        words = [*DATA, "--model", "resnet20", "--pruner", "snip", "--density", "0.3", "--precision", name]
        on_cuda(*words, "--expid", name, at=f"singleshot/{name}")
        folder = Path("Results/data/singleshot", name)
        found[name] = torch.load(folder / "model.pt", weights_only=True)
        assert json.loads((folder / "args.json").read_text())["computed_in"].startswith("mixed" if name == "bf16" else name)
    masks = [key for key in found["tf32"] if key.endswith("_mask")]
    assert masks and all(torch.equal(found["float32"][key], found[name][key]) for key in masks for name in ("tf32", "bf16"))
    assert any(not torch.equal(found["float32"][key], found["tf32"][key]) for key in found["tf32"])


def test_levels_that_rewind_a_compact_network_from_the_cache(on_cuda):
    for name in "ab":
        on_cuda(*LEVELS, "--expid", name, at=f"multishot/{name}/level=2")
    assert not differences(*(numbers(Path("Results/data/multishot", name, "level=2")) for name in "ab"))


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_grid_and_what_is_done_with_saved_runs(on_cuda, jobs):
    on_cuda(*GRID, "--jobs", jobs, at="singleshot/g")
    run = "Results/data/singleshot/g/pruner=rand,ablate=none"
    for experiment in OF_SAVED_RUNS:
        on_cuda("--experiment", experiment, "--run", run)


def test_regrowth(on_cuda):
    on_cuda(*SPARSE)
    for experiment, *words in REGROWTH:
        on_cuda("--experiment", experiment, "--run", "Results/data/singleshot/sparse", *words)


def test_a_killed_run_ends_with_the_same_numbers(on_cuda):
    words = ["--pruner", "snip", *MNIST, "--post-epochs", "4", "--checkpoint-every", "1", "--expid", "x"]
    on_cuda(*words, "--result-dir", "whole")
    process = subprocess.Popen([sys.executable, PROJECT / "main.py", *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint, end = Path("Results/data/singleshot/x/checkpoint.bin"), time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    assert "Going on after epoch" in on_cuda(*words)
    assert not differences(numbers(Path("whole/singleshot/x")), numbers(Path("Results/data/singleshot/x")))


def test_an_absent_card_is_refused(refused):
    refused([*DATA, "--gpu", torch.cuda.device_count()], f"--gpu {torch.cuda.device_count()}", "numbered from 0")


def pruned(name: str, device: torch.device) -> list[torch.Tensor]:
    torch.manual_seed(1)
    model = registry.build("resnet20", "lottery", SHAPE, 10)
    batch = (torch.randn(40, *SHAPE).to(device), (torch.arange(40) % 10).to(device))
    p = Problem(model.to(device), add_masks(model), SHAPE, read_batches=lambda: [batch])
    prune_loop(p, Pruners.load(name)(), 0.1, rounds=3)
    return [m.cpu() for m in p.masks]


@pytest.mark.parametrize("name", PRUNERS)
def test_masks_agree_with_the_cpu(name):
    cpu, cuda = (pruned(name, choose_device(parse(words))) for words in (["--no-cuda"], []))
    assert sum(int(m.sum()) for m in cuda) == sum(int(m.sum()) for m in cpu)
    for a, b in zip(cpu, cuda, strict=True):
        assert abs(int(a.sum()) - int(b.sum())) <= max(3, 5e-4 * a.numel())
    if name in ("rand", "mag"):
        assert all(torch.equal(a, b) for a, b in zip(cpu, cuda, strict=True))


@pytest.mark.parametrize("row", ROWS, ids=row_name)
def test_masks_of_the_ancestor(row):
    check_row(row, choose_device(parse([])))


@pytest.mark.parametrize("size", [None, (45, 45)])
def test_batches_agree_with_the_cpu(size):
    images = torch.randint(0, 256, (50, *SHAPE), dtype=torch.uint8)
    labels = torch.arange(50) % 10
    splits = [TensorSplit(images.to(d), labels.to(d), (0.5,) * 3, (0.2,) * 3, "crop-flip", size) for d in ("cpu", "cuda")]
    for (x, y), (u, v) in zip(*(s.train_batches(16, 1, "post_train", 2) for s in splits), strict=True):
        assert torch.equal(x, u.cpu()) and torch.equal(y, v.cpu())


@pytest.mark.parametrize("augment", ["none", "crop-flip", "imagenet"])
def test_batches_of_large_images_agree_with_the_cpu(augment):
    """They come in pinned memory, from two processes that serve both passes."""
    splits = [LoaderSplit(Reader([Gradients()], 72, 2, d), 0, torch.arange(16), augment) for d in ("cpu", "cuda")]
    for split in splits:
        split.set_statistics((0.5,) * 3, (0.2,) * 3)
    for epoch in (1, 2):
        cpu, cuda = (list(split.train_batches(5, 1, "post_train", epoch)) for split in splits)
        for (x, y), (u, v) in zip(cpu, cuda, strict=True):
            assert u.is_cuda and torch.equal(x, u.cpu()) and torch.equal(y, v.cpu())


def test_an_epoch_does_not_wait_for_the_device():
    """Any synchronisation raises while an epoch of training and a test pass are issued."""
    model = registry.build("resnet20", "lottery", SHAPE, 10)
    prunables = add_masks(model)
    model.cuda()
    images = torch.randint(0, 256, (64, *SHAPE), dtype=torch.uint8, device="cuda")
    split = TensorSplit(images, torch.arange(64, device="cuda") % 10, (0.5,) * 3, (0.2,) * 3, "none")
    optimizer = make_optimizer(model, "adam", 0.001, 0.0)
    hold_masks(optimizer, prunables)
    batches = list(split.plain_batches(16))
    train_epoch(model, optimizer, batches)
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = train_epoch(model, optimizer, batches)
        sums_over(model, batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()
