"""Traces of one step, mixed precision, memory, histograms of a run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import torch
from conftest import PROJECT
from torch import nn

from Models.masking import add_masks
from Utils.compute.memory import PeakMemory
from Utils.compute.precision import Precision
from Utils.training.loops import train_epoch
from Utils.training.optimizers import make_optimizer

CPU = torch.device("cpu")
NET = ["--dataset", "synthetic:3x8x8:3:60", "--model", "resnet20", "--pruner", "snip", "--compression", "1", "--post-epochs", "1", "--expid", "x"]
FOLDER = Path("Results/data/singleshot/x")


def test_save_trace_has_exactly_one_step_with_named_layers(command):
    """And the project's own reader finds each convolution once."""
    assert command(*NET, "--save-trace").status == 0
    events = json.loads((FOLDER / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name") == "aten::conv2d" for event in events) == 21
    assert len({event["name"] for event in events if str(event.get("name")).startswith("ProfilerStep#") and event.get("ph") == "X"}) == 1
    names = {event["name"] for event in events if event.get("cat") == "user_annotation"}
    assert {"blocks.0.conv1 Conv2d", "blocks.0.conv2 Conv2d", "fc Linear"} <= names
    assert any("Input Dims" in event.get("args", {}) for event in events)
    assert "trace.json" in json.loads((FOLDER / "summary.json").read_text())["files"]
    done = command("--experiment", "trace", "--trace", FOLDER / "trace.json", "--expid", "t")
    assert done.status == 0 and "at least one of 21 convolutions ran" in done.out
    layers = pd.read_csv("Results/data/trace/t/trace.csv")
    assert len(layers) == 21 and (Path("Results/data/trace/t") / "timeline.png").stat().st_size > 10000


def test_a_cuda_trace_without_kernels_is_named_and_costs_no_trained_network(capsys):
    from Utils.measure.record_trace import _note_missing_kernels

    _note_missing_kernels({"traceEvents": [{"cat": "cpu_op"}, {"cat": "kernel"}]})
    assert not capsys.readouterr().out
    _note_missing_kernels({"traceEvents": [{"cat": "cpu_op"}, {"name": "x"}]})
    assert "NOTE: --save-trace: the profiler recorded no CUDA kernels; try another version" in capsys.readouterr().out


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32(command):
    seen = []
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    net[1].register_forward_hook(lambda _m, _i, output: seen.append(output.dtype))
    prunables = add_masks(net)
    assert len(prunables) == 2
    batch = [(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))]
    for precision, dtype in ((Precision(CPU), torch.float32), (Precision(CPU, torch.bfloat16), torch.bfloat16)):
        loss = train_epoch(net, make_optimizer(net, "adam", 0.01, 0.0), batch, precision=precision)
        assert seen.pop() == dtype and loss.dtype == torch.float64
    assert all(p.dtype == torch.float32 for p in net.parameters())
    done = command(*NET, "--quantization")
    summary = json.loads((FOLDER / "summary.json").read_text())
    said = "Mixed precision: bfloat16 in the forward pass, weights stay float32."
    assert said in done.out.partition("Pre-Train")[0] and said not in command(*NET, "--expid", "y").out
    assert done.status == 0 and "mixed: bfloat16 and float32" in done.out and summary["precision"] == "mixed: bfloat16 and float32"
    state = torch.load(FOLDER / "model.pt", weights_only=True)
    assert all(t.dtype != torch.bfloat16 for t in state.values())
    tested = command("--experiment", "evaluate", "--run", FOLDER).out.splitlines()
    assert tested[0].partition(": ")[2] == tested[1].partition(": ")[2]


def test_the_study_of_training_is_mixed_too_and_has_its_costs(command):
    words = ["--experiment", "imp-conservation", *NET[:2], "--post-epochs", "2", "--quantization", "--expid", "q"]
    done = command(*words)
    assert done.status == 0 and "Mixed precision: bfloat16" in done.out.partition("Training for")[0]
    summary = json.loads(Path("Results/data/imp-conservation/q/summary.json").read_text())
    assert summary["precision"] == "mixed: bfloat16 and float32" and summary["seconds"]["post_train"] > 0
    assert set(summary["peak_memory_bytes"]) == {"train", "evaluate"}
    assert command(*words[:-3], "--expid", "f").status == 0
    plain = json.loads(Path("Results/data/imp-conservation/f/summary.json").read_text())
    assert plain["precision"] == "float32" and plain["test_loss_last"] != summary["test_loss_last"]


def test_peak_memory_is_of_the_phase():
    memory = PeakMemory(CPU)
    memory.reset()
    base = memory.read()
    block = torch.ones(64 << 20, dtype=torch.uint8)
    assert block.sum() > 0
    peak = memory.read()
    del block
    assert peak - base > 48 << 20
    memory.reset()
    if memory.of == "resident memory of the process":  # where the system lets it be reset
        assert memory.read() < peak - (32 << 20)


def test_freed_memory_is_not_of_the_next_phase():
    """Where freed memory is kept, as `main.py` has it."""
    code = (
        "import torch; from Utils.compute.allocator import keep_freed_memory; from Utils.compute.memory import PeakMemory\n"
        "keep_freed_memory(); memory = PeakMemory(torch.device('cpu')); memory.reset(); before = memory.read()\n"
        "blocks = [torch.ones(1 << 20) for _ in range(64)]; del blocks; high = memory.read()\n"
        "memory.reset(); print(memory.of, before, high, memory.read(), sep=';')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    of, before, high, after = done.stdout.split(";")
    assert int(high) - int(before) > 200 << 20
    if of == "resident memory of the process" and sys.platform == "linux":
        assert int(after) - int(before) < 32 << 20


def test_a_run_has_the_peak_of_each_phase(command):
    assert command(*NET, "--pre-epochs", "1").status == 0
    summary = json.loads((FOLDER / "summary.json").read_text())
    assert set(summary["peak_memory_bytes"]) == {"dense", "prune", "train", "evaluate"} and summary["peak_memory_of"]
    assert all(isinstance(v, int) and v > 1 << 20 for v in summary["peak_memory_bytes"].values())
